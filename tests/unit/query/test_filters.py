"""Filter objects that are taken, and those that are refused with the key that is at fault."""

import json
from typing import Any

import pytest
from msgspec import Raw

from services.contract.api.errors import ApiError, ErrorCode
from services.query.request.filters import (
    MAX_CONDITIONS,
    MAX_FILTER_BYTES,
    MAX_KEY_LEVELS,
    MAX_LIST_MEMBERS,
    MAX_TRAIT_CONDITIONS,
    parse_filter,
)
from services.query.sql.conditions import conditions_sql, joins_of
from services.query.sql.parameters import Parameters


@pytest.mark.parametrize("text", [b"", b"null", b"{}"])
def test_no_filter_is_no_condition(text: bytes) -> None:
    assert parse_filter(Raw(text)) == []
    assert conditions_sql([], Parameters()) == ""


def test_operators_of_one_key_are_conditions_each() -> None:
    parsed = parse_filter(Raw(b'{"a": {"gt": 1, "lt": 2.5}, "b": ["x", null], "c": false}'))
    assert [(c.key, c.operator, c.operand) for c in parsed] == [
        ("a", "gt", 1),
        ("a", "lt", 2.5),
        ("b", "in", ["x", None]),
        ("c", "eq", False),
    ]


@pytest.mark.parametrize(
    ("conditions", "field", "says"),
    [
        ([], "filter", "an object"),
        ("x", "filter", "an object"),
        (1, "filter", "an object"),
        ({"a": {"like": "x"}}, "filter.a", "`like`"),
        ({"a": {"eq": 1, "$gt": 2}}, "filter.a", "`$gt`"),
        ({"a": {}}, "filter.a", "no operator"),
        ({"a": {"b": {"c": 1}}}, "filter.a", "with dots"),
        ({"a": [[1]]}, "filter.a", "a list of at most"),
        ({"a": [{"b": 1}]}, "filter.a", "a list of at most"),
        ({"a": {"eq": [1]}}, "filter.a", "`eq` takes"),
        ({"a": {"ne": {"b": 1}}}, "filter.a", "`ne` takes"),
        ({"a": {"in": "x"}}, "filter.a", "`in` takes"),
        ({"a": {"not_in": {"x": 1}}}, "filter.a", "`not_in` takes"),
        ({"a": {"gt": None}}, "filter.a", "a number or a string"),
        ({"a": {"lte": True}}, "filter.a", "a number or a string"),
        ({"a": {"lt": [1]}}, "filter.a", "a number or a string"),
        ({"a": {"exists": 1}}, "filter.a", "true or false"),
        ({"a": {"exists": "yes"}}, "filter.a", "true or false"),
        ({"a": {"contains": ["x"]}}, "filter.a", "`contains` takes"),
        ({"event": 1}, "filter.event", "strings"),
        ({"event": ["a", None]}, "filter.event", "strings"),
        ({"distinct_id": {"gt": 5}}, "filter.distinct_id", "strings"),
        ({"person_id": None}, "filter.person_id", "strings"),
        ({"x" * 300: {}}, "filter." + "x" * 100, "no operator"),
        ({".".join("a" * (MAX_KEY_LEVELS + 1)): 1}, "filter." + ".".join("a" * 17), "deeper"),
        ({f"k{i}": i for i in range(MAX_CONDITIONS + 1)}, "filter", "conditions"),
        ({f"person.t{i}": i for i in range(MAX_TRAIT_CONDITIONS + 1)}, "filter", "conditions on traits"),
        ({"person.plan": {"like": "x"}}, "filter.person.plan", "`like`"),
        ({"group.company.size": {"gt": None}}, "filter.group.company.size", "a number or a string"),
        ({"a": list(range(MAX_LIST_MEMBERS + 1))}, "filter.a", "a list of at most"),
        ({"a": "x" * MAX_FILTER_BYTES}, "filter", "bytes"),
    ],
)
def test_refused(conditions: Any, field: str, says: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_filter(Raw(json.dumps(conditions).encode()))
    assert caught.value.code is ErrorCode.INVALID_FILTER
    assert caught.value.field == field
    assert says in caught.value.message


@pytest.mark.parametrize("text", [b'{"a": 1e400}', b'{"a": [-1e999]}', b'{"a": {"gt": 1e309}}'])
def test_numbers_that_no_double_holds_are_refused(text: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_filter(Raw(text))
    assert caught.value.code is ErrorCode.INVALID_FILTER


def test_integers_are_looked_up_among_integers_of_their_own_size() -> None:
    named = Parameters()
    conditions_sql(parse_filter(Raw(b'{"a": [1, 2.0, 0.5, 9223372036854775808, 100000000000000000000000]}')), named)
    assert list(named.values.values()) == [
        "a",
        [1, 2],
        [9223372036854775808],
        ["100000000000000000000000"],
        [1.0, 2.0, 0.5, 9223372036854775808.0, 1e23],
    ]


def joins(text: bytes) -> str:
    return joins_of(parse_filter(Raw(text)), Parameters())


def test_only_a_question_about_people_needs_them() -> None:
    assert "AS named" in joins(b'{"person_id": "u"}')
    assert joins(b'{"distinct_id": "u", "x": 1}') == ""
    assert "AS merged" in joins(b'{"person.plan": "pro"}')
    assert joins(b'{"personal": 1, "groups.x": 1, "person": 1}') == ""


def test_each_type_of_group_is_joined_once() -> None:
    text = joins(b'{"group.company": "a", "group.company.plan": "pro", "group.company.size": 1, "group.team": "b"}')
    assert text.count("ASOF LEFT JOIN") == 2


def where(text: Any) -> str:
    return conditions_sql(parse_filter(Raw(json.dumps(text).encode())), Parameters())


def test_the_opposite_operators_ask_for_all_but_those_who_have_the_value() -> None:
    for condition in ({"ne": "pro"}, {"not_in": ["pro"]}, {"exists": False}):
        assert " NOT IN (SELECT who" in where({"person.plan": condition})
    for condition in ({"eq": "pro"}, {"in": ["pro"]}, {"exists": True}, {"contains": "pro"}):
        assert " IN (SELECT who" in where({"person.plan": condition})
        assert " NOT IN (SELECT who" not in where({"person.plan": condition})


def test_filters_of_one_query_may_have_names_of_their_own() -> None:
    conditions = parse_filter(Raw(b'{"a": "x", "person.b": 1}'))
    one, other = Parameters("one"), Parameters("other")
    conditions_sql(conditions, one)
    conditions_sql(conditions, other)
    assert not set(one.values) & set(other.values)
    assert list(one.values.values()) == list(other.values.values())
