"""Lets clients find and kill queries by the query_id that they gave.

chDB makes its own query ids. The client's travels in a setting that nothing here reads, and is put back wherever a
statement looks at system.processes or says KILL QUERY.
"""

from services.devstack.clickhouse.statement import Statement, Token, tokenize

# Only the NATS and Redis Streams engines read this setting, and neither is part of the pipeline.
CARRIER = "stream_like_engine_insert_queue"
_CARRIED = f"Settings['{CARRIER}']"
_QUERY_ID = f"if({_CARRIED} = '', query_id, {_CARRIED})".encode()
_PROCESSES = f"(SELECT * REPLACE ({_QUERY_ID.decode()} AS query_id) FROM system.processes)".encode()


def with_query_ids(statement: Statement) -> bytes:
    """The statement's text, in which `query_id` means what clients mean by it."""
    text = statement.text
    if statement.keyword == "KILL":
        return _replace(text, [(t.start, t.end, _QUERY_ID) for t in tokenize(text) if t.is_word(b"QUERY_ID")])
    if statement.keyword in ("SELECT", "WITH") and b"processes" in text:
        return _replace(text, _process_lists(list(tokenize(text))))
    return text


def kill_statement(query_id: str) -> bytes:
    """Stops a SELECT; inserts go on, as in ClickHouse, when their client is gone."""
    value = query_id.encode(errors="surrogateescape").replace(b"\\", b"\\\\").replace(b"'", b"\\'")
    return f"KILL QUERY WHERE query_kind = 'Select' AND {_CARRIED} = '".encode() + value + b"' ASYNC"


def _process_lists(tokens: list[Token]) -> list[tuple[int, int, bytes]]:
    found = zip(tokens, tokens[1:], tokens[2:], strict=False)
    return [
        (database.start, table.end, _PROCESSES)
        for database, dot, table in found
        if database.is_word(b"SYSTEM") and dot.text == b"." and table.is_word(b"PROCESSES")
    ]


def _replace(text: bytes, places: list[tuple[int, int, bytes]]) -> bytes:
    for start, end, by in reversed(places):
        text = text[:start] + by + text[end:]
    return text
