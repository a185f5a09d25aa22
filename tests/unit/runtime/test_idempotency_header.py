"""The Idempotency-Key header: one rule for edge and query service."""

import pytest
from starlette.requests import Request

from services.contract.api.errors import ApiError
from services.runtime.idempotency_header import idempotency_header


def request(*headers: tuple[bytes, bytes]) -> Request:
    return Request({"type": "http", "headers": list(headers)})


def test_none() -> None:
    assert idempotency_header(request((b"accept", b"*/*"))) is None


def test_an_empty_one_is_none() -> None:
    assert idempotency_header(request((b"idempotency-key", b""))) is None


@pytest.mark.parametrize("key", ["k", "k" * 256, "order 7 ~!"])
def test_a_key(key: str) -> None:
    assert idempotency_header(request((b"idempotency-key", key.encode()))) == key


@pytest.mark.parametrize("key", [b"k" * 257, b"\xe9", "é".encode(), b"a\tb", b"a\x7f"])
def test_a_key_that_a_body_could_write_otherwise_is_refused(key: bytes) -> None:
    with pytest.raises(ApiError) as error:
        idempotency_header(request((b"idempotency-key", key)))
    assert error.value.field == "Idempotency-Key"
    assert error.value.code.status == 400


def test_of_two_that_differ_it_is_not_clear_which_counts() -> None:
    twice = ((b"idempotency-key", b"a"), (b"accept", b"*/*"), (b"idempotency-key", b"a"))
    assert idempotency_header(request(*twice)) == "a"
    for other in (b"b", b""):
        for both in ((b"a", other), (other, b"a")):
            with pytest.raises(ApiError) as error:
                idempotency_header(request(*((b"idempotency-key", key) for key in both)))
            assert error.value.field == "Idempotency-Key"
