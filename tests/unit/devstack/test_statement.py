"""The lexer finds what the HTTP interface must know, whatever names, strings and comments a text has."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.devstack.clickhouse.errors import ClickHouseError
from services.devstack.clickhouse.query_ids import CARRIER, with_query_ids
from services.devstack.clickhouse.statement import Insert, Statement, parse


@pytest.mark.parametrize(
    ("sql", "keyword", "format_name"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"select 1 format JSONEachRow", "SELECT", "JSONEachRow"),
        (b"/* x; */ -- y;\n (SELECT ';') FORMAT Native SETTINGS max_threads = 1", "SELECT", "Native"),
        (b"SELECT format FROM t", "SELECT", None),
        (b"SELECT 'a FORMAT b'", "SELECT", None),
        (b"SELECT * FROM (SELECT 1 FORMAT TSV)", "SELECT", None),
        (b"SELECT 1 FORMAT TSV;\n -- the end\n", "SELECT", "TSV"),
        (b"SELECT $$ ; FORMAT x $$", "SELECT", None),
        (b"SELECT `a;b`, \"c;d\", 'it''s;', 'it\\'s;'", "SELECT", None),
        (b"CREATE TABLE t (a Int8) ENGINE = Memory", "CREATE", None),
        (b"INSERT INTO t SELECT 1", "INSERT", None),
        (b"INSERT INTO t (a) (SELECT 1)", "INSERT", None),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", "INSERT", "CSV"),
    ],
)
def test_statements_without_data(sql: bytes, keyword: str, format_name: str | None) -> None:
    statement = parse(sql)
    assert isinstance(statement, Statement)
    assert (statement.keyword, statement.format) == (keyword, format_name)


@pytest.mark.parametrize(
    ("sql", "target", "clauses", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1", b"INSERT INTO t ", b"", "CSV", b"1"),
        (b"insert into t format RowBinary\n\n; --", b"insert into t ", b"", "RowBinary", b"\n; --"),
        (b"INSERT INTO t FORMAT RowBinary \t\r\n x", b"INSERT INTO t ", b"", "RowBinary", b" x"),
        (b"INSERT INTO d.t (a, `b`) VALUES (1);(2)", b"INSERT INTO d.t (a, `b`) ", b"", "Values", b" (1);(2)"),
        (b"INSERT t VALUES (1)", b"INSERT t ", b"", "Values", b" (1)"),
        (
            b"INSERT INTO TABLE FUNCTION file('x') FORMAT TSV ",
            b"INSERT INTO TABLE FUNCTION file('x') ",
            b"",
            "TSV",
            b"",
        ),
        (
            b"INSERT INTO t SETTINGS a = 'FORMAT' FORMAT TSV\nx",
            b"INSERT INTO t ",
            b"SETTINGS a = 'FORMAT' ",
            "TSV",
            b"x",
        ),
        (b"INSERT INTO values VALUES (1)", b"INSERT INTO values ", b"", "Values", b" (1)"),
        (b"INSERT INTO d.format FORMAT CSV\n1", b"INSERT INTO d.format ", b"", "CSV", b"1"),
        (
            b"INSERT INTO {d:Identifier}.{t:Identifier} FORMAT CSV\n",
            b"INSERT INTO {d:Identifier}.{t:Identifier} ",
            b"",
            "CSV",
            b"",
        ),
        (b"INSERT INTO t (a);", b"INSERT INTO t (a)", b"", None, b""),
    ],
)
def test_inserts(sql: bytes, target: bytes, clauses: bytes, format_name: str | None, data: bytes) -> None:
    insert = parse(sql)
    assert isinstance(insert, Insert)
    assert (insert.target, insert.clauses, insert.format, b"".join(insert.data)) == (target, clauses, format_name, data)


@pytest.mark.parametrize("sql", [b"", b"  -- nothing\n", b";", b"SELECT 1; SELECT 2", b"DROP TABLE a; DROP TABLE b;"])
def test_exactly_one_statement(sql: bytes) -> None:
    with pytest.raises(ClickHouseError) as error:
        parse(sql)
    assert (error.value.code, error.value.status) == (62, 400)


@given(st.binary())
def test_data_is_never_taken_for_sql(data: bytes) -> None:
    for head, gap in ((b"INSERT INTO t (a) FORMAT RowBinary\n", b""), (b"INSERT INTO t VALUES", b" ")):
        insert = parse(head + gap + data)
        assert isinstance(insert, Insert)
        assert b"".join(insert.data) == gap + data


@given(
    st.lists(
        st.sampled_from(
            [b"'", b"\\", b"`", b'"', b"/*", b"*/", b"--", b"$$", b"(", b")", b";", b"INSERT ", b"FORMAT ", b"x"]
        )
    )
)
def test_broken_texts_are_left_to_the_engine(pieces: list[bytes]) -> None:
    with contextlib.suppress(ClickHouseError):
        parse(b"".join(pieces))


def test_query_ids_are_the_clients() -> None:
    kill = parse(b"KILL QUERY WHERE query_id = 'query_id' SYNC")
    assert isinstance(kill, Statement)
    assert with_query_ids(kill).endswith(b" = 'query_id' SYNC")
    assert CARRIER.encode() in with_query_ids(kill)
    look = parse(b"SELECT query_id FROM system.processes AS p WHERE query LIKE 'system.processes'")
    assert isinstance(look, Statement)
    assert with_query_ids(look).startswith(b"SELECT query_id FROM (SELECT * REPLACE (")
    assert with_query_ids(look).endswith(b" FROM system.processes) AS p WHERE query LIKE 'system.processes'")
    other = parse(b"SELECT query_id FROM t")
    assert isinstance(other, Statement)
    assert with_query_ids(other) == other.text
