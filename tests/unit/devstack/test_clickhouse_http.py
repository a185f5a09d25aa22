"""Requests are taken apart and errors put together as ClickHouse does it."""

import pytest

from services.devstack.clickhouse.compression import decode, encoder_for
from services.devstack.clickhouse.errors import ClickHouseError
from services.devstack.clickhouse.request import add_form, read_request


@pytest.mark.parametrize(
    ("engine_text", "code", "status", "text"),
    [
        (
            "Code: 60. DB::Exception: Table default.x does not exist. (UNKNOWN_TABLE)",
            60,
            404,
            "Code: 60. DB::Exception: Table default.x does not exist. (UNKNOWN_TABLE) (version 1.2 (official build))\n",
        ),
        (
            "Streaming query failed: Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format X."
            " (UNKNOWN_FORMAT) (version 26.9.2.1). (UNKNOWN_FORMAT)",
            73,
            404,
            "Code: 73. DB::Exception: Unknown format X. (UNKNOWN_FORMAT) (version 1.2 (official build))\n",
        ),
        (
            "Code: 26. DB::Exception: Code: 26. DB::Exception: Cannot parse JSON string: (at row 2)\n: (in file/uri /a/b):"
            " While executing ParallelParsingBlockInputFormat: While executing File: data for INSERT was parsed from file."
            " (CANNOT_PARSE_QUOTED_STRING)",
            26,
            400,
            "Code: 26. DB::Exception: Cannot parse JSON string: (at row 2)\n: While executing"
            " ParallelParsingBlockInputFormat. (CANNOT_PARSE_QUOTED_STRING) (version 1.2 (official build))\n",
        ),
        (
            "no form at all",
            1002,
            500,
            "Code: 1002. DB::Exception: no form at all (UNKNOWN_EXCEPTION) (version 1.2 (official build))\n",
        ),
    ],
)
def test_errors_of_the_engine(engine_text: str, code: int, status: int, text: str) -> None:
    error = ClickHouseError.from_engine(engine_text)
    assert (error.code, error.status, error.text("1.2")) == (code, status, text)


def test_a_request_is_taken_apart() -> None:
    url = b"query=SELECT+1&database=d&param_x=a%00%ff&max_threads=2&query_id=a%0ab&session_id=s&wait_end_of_query=1"
    request = read_request("POST", url, {"x-clickhouse-database": "other", "x-clickhouse-format": "JSON"})
    assert (request.query, request.database, request.default_format) == ("SELECT 1", "d", "JSON")
    assert request.parameters == {"param_x": "a\0\udcff"}
    assert request.settings == {"max_threads": "2"}
    assert request.query_id == "a_b"
    assert request.wait_end_of_query


def test_get_only_reads() -> None:
    assert read_request("GET", b"", {}).settings == {"readonly": "2"}


@pytest.mark.parametrize("url", [b"compress=1", b"a%20b=1", b"param_x%27=1"])
def test_what_is_refused(url: bytes) -> None:
    with pytest.raises(ClickHouseError):
        read_request("POST", url, {})


def test_a_form_carries_query_and_parameters() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT\r\n{x:String}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="param_x"\r\nContent-Type: text/plain\r\n\r\n\xffy\r\n--B--\r\n'
    )
    request, sql = add_form(read_request("POST", b"", {}), body, "multipart/form-data; boundary=B")
    assert sql == b"SELECT\r\n{x:String}"
    assert request.parameters == {"param_x": "\udcffy"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_encodings_are_undone(encoding: str) -> None:
    chosen = encoder_for(f"identity, {encoding};q=0.5")
    assert chosen is not None
    name, encoder = chosen
    pieces = [b"abc" * 1000, b"", b"\0" * 10]
    assert name == encoding
    assert decode(b"".join(map(encoder.encode, pieces)) + encoder.finish(), encoding) == b"".join(pieces)
    with pytest.raises(ClickHouseError):
        decode(b"garbage", encoding)


def test_unknown_encodings() -> None:
    assert encoder_for("br") is None
    with pytest.raises(ClickHouseError):
        decode(b"", "compress")
