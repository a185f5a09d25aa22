"""Identify, alias and group: the line of the identity log, or the reason why there is none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_EVENT_BYTES, MAX_TRAITS, MAX_TRAITS_BYTES
from services.contract.log.envelope import pack
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_identify

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PROJECT = "shop"
Take = Callable[[bytes, str, datetime, str | None], IdentityIntake]

SMALLEST: dict[Take, dict[str, Any]] = {
    take_identify: {"distinct_id": "user_42"},
    take_alias: {"old_id": "anonymous_1", "new_id": "user_42"},
    take_group: {"distinct_id": "user_42", "group_type": "company", "group_key": "acme"},
}
EVERY_CALL = pytest.mark.parametrize("take", list(SMALLEST), ids=["identify", "alias", "group"])


def run(take: Take, header_key: str | None = None, project_id: str = PROJECT, **fields: Any) -> IdentityIntake:
    return take(json.dumps({**SMALLEST[take], **fields}).encode(), project_id, NOW, header_key)


def row(intake: IdentityIntake) -> dict[str, Any]:
    """The one logged line, without what is empty."""
    (found,) = rows(intake)
    return found


def rows(intake: IdentityIntake) -> list[dict[str, Any]]:
    lines = pack(intake.ids, intake.lines).lines.splitlines()
    return [{name: value for name, value in json.loads(line).items() if value not in ("", {})} for line in lines]


def refusal(take: Take, body: bytes) -> ApiError:
    with pytest.raises(ApiError) as refused:
        take(body, PROJECT, NOW, None)
    return refused.value


ALWAYS = {"project_id": PROJECT, "timestamp": "2026-11-20T12:00:00Z", "received_at": "2026-11-20T12:00:00Z"}


@pytest.mark.parametrize(
    ("take", "fields", "line"),
    [
        (take_identify, {}, {"kind": "identify", "distinct_id": "user_42"}),
        (
            take_identify,
            {
                "traits": {"plan": "pro", "age": None},
                "set_once": {"source": "ad"},
                "alias_for": "anon",
                "timestamp": "2026-11-19T00:00:00Z",
            },
            {
                "kind": "identify",
                "distinct_id": "user_42",
                "traits": {"plan": "pro", "age": None},
                "set_once": {"source": "ad"},
                "old_id": "anon",
                "timestamp": "2026-11-19T00:00:00Z",
            },
        ),
        (
            take_identify,
            {"user_id": "ann", "traits": {"plan": "pro"}},
            {"kind": "link", "distinct_id": "ann", "user_id": "ann", "old_id": "user_42", "traits": {"plan": "pro"}},
        ),
        (
            take_identify,
            {"user_id": "user_42", "alias_for": "anon"},
            {"kind": "identify", "distinct_id": "user_42", "user_id": "user_42", "old_id": "anon"},
        ),
        (take_alias, {}, {"kind": "alias", "distinct_id": "user_42", "old_id": "anonymous_1"}),
        (
            take_group,
            {"traits": {"size": 5}, "set_once": {"since": 2020}, "timestamp": 1763510400},
            {
                "kind": "group",
                "timestamp": "2025-11-19T00:00:00Z",
                "set_once": {"since": 2020},
                "distinct_id": "user_42",
                "group_type": "company",
                "group_key": "acme",
                "traits": {"size": 5},
            },
        ),
    ],
    ids=["identify", "identify with all", "link", "its own user", "alias", "group with all"],
)
def test_a_message_becomes_one_line(take: Take, fields: dict[str, Any], line: dict[str, Any]) -> None:
    intake = run(take, **fields)
    assert row(intake) == {**ALWAYS, **line, "event_id": intake.ids[0].hex()}
    assert intake.warnings == []


@pytest.mark.parametrize("placeholder", ["null", "Undefined", " [OBJECT OBJECT]\t", '"null"', "\u200b", "NaN"])
@pytest.mark.parametrize(
    ("take", "field"),
    [
        (take_alias, "old_id"),
        (take_alias, "new_id"),
        (take_identify, "alias_for"),
        (take_identify, "distinct_id"),
        (take_identify, "user_id"),
    ],
    ids=["old_id", "new_id", "alias_for", "distinct_id", "user_id"],
)
def test_a_placeholder_is_no_side_of_a_merge(take: Take, field: str, placeholder: str) -> None:
    body = {**SMALLEST[take], **({"alias_for": "anon"} if take is take_identify else {}), field: placeholder}
    error = refusal(take, json.dumps(body).encode())
    assert (error.code, error.field) == (ErrorCode.ILLEGAL_ID, field)
    assert placeholder in error.message
    assert "Send a real id" in error.message


@pytest.mark.parametrize("placeholder", ["null", "guest", "0"])
def test_without_a_merge_a_placeholder_is_an_id_like_others(placeholder: str) -> None:
    assert row(run(take_identify, distinct_id=placeholder))["distinct_id"] == placeholder
    assert row(run(take_group, distinct_id=placeholder))["distinct_id"] == placeholder


def test_a_placeholder_is_no_prior_side_of_a_link() -> None:
    error = refusal(take_identify, b'{"distinct_id": "null", "user_id": "ann"}')
    assert (error.code, error.field) == (ErrorCode.ILLEGAL_ID, "distinct_id")


def test_a_link_and_a_merge_in_one_message_are_two_lines_of_one_key() -> None:
    asked: dict[str, Any] = {"distinct_id": "phone", "user_id": "ann", "alias_for": "anon", "traits": {"plan": "pro"}}
    intake = run(take_identify, **asked, idempotency_key="k")
    link, merge = rows(intake)
    assert (link["kind"], link["old_id"], link["distinct_id"], link["traits"]) == (
        "link",
        "phone",
        "ann",
        {"plan": "pro"},
    )
    assert (merge["kind"], merge["old_id"], merge["distinct_id"]) == ("alias", "anon", "phone")
    assert "traits" not in merge
    assert len(set(intake.ids)) == 2
    assert run(take_identify, **asked, idempotency_key="k").ids == intake.ids


@pytest.mark.parametrize("near", ["nullable", "00", "guest1", "[object]", "none.", "undefined_user"])
def test_ids_that_only_look_like_a_placeholder_are_merged(near: str) -> None:
    assert row(run(take_alias, old_id=near))["old_id"] == near


def test_an_alias_of_an_id_to_itself_is_not_logged() -> None:
    intake = run(take_alias, old_id="same", new_id="same", else_=1)
    assert intake.lines == []
    assert intake.warnings == ["unknown field `else_` ignored"]


def test_alias_for_the_id_itself_is_no_merge_but_an_identify() -> None:
    line = row(run(take_identify, alias_for="user_42", traits={"a": 1}))
    assert "old_id" not in line
    assert line["traits"] == {"a": 1}


@pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
@pytest.mark.parametrize("traits", [[], "{}", 5, True], ids=["array", "string", "number", "boolean"])
def test_traits_are_an_object(take: Take, traits: Any) -> None:
    error = refusal(take, json.dumps({**SMALLEST[take], "traits": traits}).encode())
    assert (error.code, error.field, error.message) == (
        ErrorCode.INVALID_FIELD,
        "traits",
        "`traits`: expected an object.",
    )


@pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
def test_null_traits_are_none(take: Take) -> None:
    assert "traits" not in row(run(take, traits=None))


@pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
def test_traits_are_as_deep_as_properties_may_be(take: Take) -> None:
    traits: Any = {}
    for _ in range(31):
        traits = {"k": traits}
    assert row(run(take, traits=traits))["traits"] == traits
    error = refusal(take, json.dumps({**SMALLEST[take], "traits": {"k": traits}}).encode())
    assert (error.code, error.field) == (ErrorCode.TOO_DEEP, "traits")


@EVERY_CALL
def test_ids_have_limits(take: Take) -> None:
    for name in SMALLEST[take]:
        limit = 200 if name == "group_type" else 512
        assert run(take, **{name: "é" * limit}).lines
        wrong: list[Any] = ["é" * (limit + 1), "", 5, None, []]
        for bad in wrong:
            error = refusal(take, json.dumps({**SMALLEST[take], name: bad}).encode())
            assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, name)


@EVERY_CALL
def test_a_missing_field_is_named(take: Take) -> None:
    for name in SMALLEST[take]:
        body = {other: value for other, value in SMALLEST[take].items() if other != name}
        error = refusal(take, json.dumps(body).encode())
        assert (error.code, error.field, error.message) == (ErrorCode.MISSING_FIELD, name, f"`{name}` is required.")


@EVERY_CALL
def test_nul_is_refused_in_every_text(take: Take) -> None:
    optional = {"user_id": "u", "alias_for": "a"} if take is take_identify else {}
    for name in [*SMALLEST[take], *optional, "idempotency_key"]:
        error = refusal(take, json.dumps({**SMALLEST[take], **optional, name: "a\0b"}).encode())
        assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, name)
        assert "NUL" in error.message


@EVERY_CALL
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ErrorCode.INVALID_JSON),
        (b"{", ErrorCode.INVALID_JSON),
        (b'{"idempotency_key": "\xff"}', ErrorCode.INVALID_JSON),
        (b'{"idempotency_key": NaN}', ErrorCode.INVALID_JSON),
        (b"\x1f\x8b\x08", ErrorCode.INVALID_ENCODING),
        (b"null", ErrorCode.INVALID_FIELD),
        (b"[]", ErrorCode.INVALID_FIELD),
        (b'"x"', ErrorCode.INVALID_FIELD),
        (b'{"traits": ' + b"[" * 100_000, ErrorCode.TOO_DEEP),
        (b"\n" + b"[" * 100_000, ErrorCode.TOO_DEEP),
        (b'{"traits": "' + b"x" * MAX_EVENT_BYTES + b'"}', ErrorCode.EVENT_TOO_LARGE),
    ],
    ids=[
        "empty",
        "cut off",
        "no UTF-8",
        "NaN",
        "compressed",
        "null",
        "array",
        "string",
        "deep",
        "deep, two lines",
        "too large",
    ],
)
def test_a_broken_body_is_refused(take: Take, body: bytes, code: ErrorCode) -> None:
    assert refusal(take, body).code is code


@EVERY_CALL
def test_unknown_fields_are_ignored_with_a_bounded_number_of_warnings(take: Take) -> None:
    assert run(take, zz=1, aa=2).warnings == ["unknown field `aa` ignored", "unknown field `zz` ignored"]
    many: dict[str, Any] = {f"unknown{i}" * 30: i for i in range(50)}
    warnings = run(take, **many).warnings
    assert len(warnings) == 20
    assert max(map(len, warnings)) < 150


@EVERY_CALL
def test_a_body_of_many_lines_is_one_line(take: Take) -> None:
    traits = {} if take is take_alias else {"traits": {"a": [1, "two\nlines"]}}
    body = json.dumps({**SMALLEST[take], **traits}, indent=2).encode()
    assert row(take(body, PROJECT, NOW, None)).get("traits", {}) == traits.get("traits", {})


@EVERY_CALL
def test_equal_keys_are_equal_ids_within_a_project(take: Take) -> None:
    first = run(take, idempotency_key="k")
    assert first.lines[0].idempotency_key == "k"
    assert run(take, idempotency_key="k").ids == first.ids
    assert run(take, header_key="k").ids == first.ids
    assert run(take, header_key="k", idempotency_key=None).ids == first.ids
    assert run(take, header_key="other", idempotency_key="k").ids == first.ids
    assert run(take, idempotency_key="k", project_id="other").ids != first.ids
    assert run(take).ids != run(take).ids


@pytest.mark.parametrize(
    ("timestamp", "stored"),
    [
        ("2026-11-20T11:00:00+02:00", "2026-11-20T09:00:00Z"),
        ("2026-11-20T11:00:00", "2026-11-20T11:00:00Z"),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
        (1700000000, "2023-11-14T22:13:20Z"),
        (1700000000000, "2023-11-14T22:13:20Z"),
        (1700000000.5, "2023-11-14T22:13:20.500000Z"),
        (None, "2026-11-20T12:00:00Z"),
    ],
)
@pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
def test_identify_and_group_take_a_time(take: Take, timestamp: Any, stored: str) -> None:
    assert row(run(take, timestamp=timestamp))["timestamp"] == stored


@pytest.mark.parametrize(
    "timestamp", ["1999-12-31", "0001-01-01T00:00:00Z", "yesterday", "1700000000", True, [], {}, 0, 10**30, "a\0b"]
)
def test_identify_refuses_a_time_that_cannot_be(timestamp: Any) -> None:
    error = refusal(take_identify, json.dumps({"distinct_id": "a", "timestamp": timestamp}).encode())
    assert (error.code, error.field) == (ErrorCode.INVALID_TIMESTAMP, "timestamp")


def test_identify_does_not_take_a_number_beyond_floats_for_no_time() -> None:
    error = refusal(take_identify, b'{"distinct_id": "a", "timestamp": 1e999}')
    assert error.code is ErrorCode.INVALID_TIMESTAMP


@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59Z", "2026-11-20T13:00:00.000001Z"])
@pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
def test_a_time_far_ahead_is_the_receive_time_with_a_warning(take: Take, timestamp: str) -> None:
    intake = run(take, timestamp=timestamp)
    assert row(intake)["timestamp"] == "2026-11-20T12:00:00Z"
    assert intake.warnings == [f"timestamp is more than 1 h ahead ({timestamp}): the receive time is used"]


def test_an_alias_has_no_time_of_its_own() -> None:
    intake = run(take_alias, timestamp="2020-01-01")
    assert row(intake)["timestamp"] == "2026-11-20T12:00:00Z"
    assert intake.warnings == ["unknown field `timestamp` ignored"]


WITH_TRAITS = pytest.mark.parametrize("take", [take_identify, take_group], ids=["identify", "group"])
TRAITS = pytest.mark.parametrize("name", ["traits", "set_once"])


@WITH_TRAITS
@TRAITS
def test_as_many_traits_as_are_taken_are_taken(take: Take, name: str) -> None:
    many: Any = {f"t{n}": "a:b" for n in range(MAX_TRAITS)}
    assert row(run(take, **{name: many}))[name] == many
    long: Any = {"t": "x" * (MAX_TRAITS_BYTES - len('{"t": ""}'))}
    assert row(run(take, **{name: long}))[name] == long
    deep: Any = {"t": {f"n{n}": n for n in range(2 * MAX_TRAITS)}}
    assert row(run(take, **{name: deep}))[name] == deep


@WITH_TRAITS
@TRAITS
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({f"t{n}": n for n in range(MAX_TRAITS + 1)}, "has 1001 members; at most 1000"),
        ({"t": "x" * MAX_TRAITS_BYTES}, "has 65545 bytes; at most 65536"),
    ],
    ids=["number", "bytes"],
)
def test_more_traits_are_refused(take: Take, name: str, value: Any, said: str) -> None:
    error = refusal(take, json.dumps({**SMALLEST[take], name: value}).encode())
    assert (error.code, error.field) == (ErrorCode.EVENT_TOO_LARGE, name)
    assert said in error.message
