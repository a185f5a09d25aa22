"""The two ways to find the group that a person was in: see services/query/sql/groups.py."""

import json
import re
from pathlib import Path

import pytest

from services.query.sql.events import with_joined_deletions, without_deletions
from services.query.sql.groups import with_calls_by_person

STATEMENTS = [
    sql
    for statements in json.loads((Path(__file__).parent / "sql_of_bodies.json").read_text()).values()
    for sql in statements
]
OF_GROUPS = [sql for sql in STATEMENTS if "ASOF" in sql]


@pytest.mark.parametrize("filled", [str, without_deletions, with_joined_deletions])
def test_nothing_of_the_join_by_time_is_left(filled: type) -> None:
    assert OF_GROUPS
    for sql in map(filled, OF_GROUPS):
        by_person = with_calls_by_person(sql)
        assert "ASOF" not in by_person
        assert not re.search(r"group_\w{16}\.(moment|group_key)", by_person)
        assert by_person.count("GLOBAL ANY LEFT JOIN") == by_person.count("throwIf") == sql.count("ASOF")
        assert by_person.count("(") - by_person.count(")") == sql.count("(") - sql.count(")")


def test_other_statements_stay_as_they_are() -> None:
    others = [sql for sql in STATEMENTS if "ASOF" not in sql]
    assert others
    assert [with_calls_by_person(sql) for sql in others] == others
