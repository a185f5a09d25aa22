"""What producers send: shares, sizes, due times, keys that say their number."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.load.bodies import Bodies
from tests.load.drive import Drive
from tests.load.keys import KEY_CHARS, keys, numbers
from tests.load.pace import Pace
from tests.load.plan import KINDS, SDKS, SHARES, SIZES, Plan, read

_PLAN = Plan(edges=["e"], queries=["q"], key="k", query_key="qk", rate=2000, seconds=60, run=77)


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return Bodies("hr_key", seed=3)


def test_every_key_says_its_number() -> None:
    text = keys(5_000_000_000, 2000, run=12345)
    assert len({text[i : i + KEY_CHARS] for i in range(0, len(text), KEY_CHARS)}) == 2000
    found, foreign = numbers(bytes.fromhex(text.decode()), run=12345)
    assert found.tolist() == list(range(5_000_000_000, 5_000_002_000))
    assert foreign == 0


def test_a_key_of_somebody_else_is_foreign() -> None:
    ours = bytes.fromhex(keys(0, 1, run=1).decode())
    found, foreign = numbers(ours + b"0123456789abcdef", run=1)
    assert found.tolist() == [0]
    assert foreign == 1


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_carry_the_keys_of_their_numbers(kind: str, bodies: Bodies) -> None:
    template = bodies.any(kind)
    assert SIZES[kind][0] <= template.events <= SIZES[kind][1]
    text = keys(40, template.events, 9).decode()
    wanted = [text[i : i + KEY_CHARS] for i in range(0, len(text), KEY_CHARS)]
    body = json.loads(template.filled(40, 9))
    events = body.get("events") or body.get("batch") or [body]
    names = ("idempotency_key", "messageId", "uuid")
    assert [next(event[name] for name in names if name in event) for event in events] == wanted


def test_sdks_of_both_families_send(bodies: Bodies) -> None:
    assert {bodies.any(SDKS).path for _ in range(100)} == {"/v1/batch", "/batch"}


def test_requests_are_due_at_the_rate_whatever_their_size() -> None:
    pace = Pace(rate=100, starts_at=1000.0, seconds=10)
    due = [pace.take(events) for events in (100, 300, 600)]
    assert due == [1000.0, 1001.0, 1004.0]
    assert pace.take(1) is None


def test_what_has_no_rate_is_never_due() -> None:
    assert Pace(rate=0, starts_at=0.0, seconds=10).take(1) is None


def test_shares_hold_by_events() -> None:
    drive = Drive(_PLAN, starts_at=0.0)
    events = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        moments = []
        while (given := drive.next(kind)) is not None:
            events[kind] += given[0].events
            moments.append(given[2])
        assert all(before <= after for before, after in pairwise(moments))
    wanted = {kind: _PLAN.rate * _PLAN.seconds * share for kind, share in SHARES.items()}
    assert events == pytest.approx(wanted, rel=0.05)
    assert drive.numbers.given == sum(events.values())


def test_what_was_sent_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path
    drive = Drive(_PLAN, starts_at=5.0)
    for kind, accepted in ((KINDS[0], True), (KINDS[1], False)):
        given = drive.next(kind)
        assert given is not None
        template, first, due = given
        drive.record(kind, template, first, due, 2, accepted)
    drive.refuse(503, "later", usual=True)
    drive.refuse(400, "why", usual=False)
    drive.write(folder)
    sent, told = read(folder)
    assert sent.kind.tolist() == [0, 1]
    assert np.isnan(sent.answered).tolist() == [False, True]
    assert sent.first.tolist() == [0, sent.events[0]]
    assert (told.numbers, told.statuses, told.unexpected) == (drive.numbers.given, {503: 1, 400: 1}, ["400: why"])
