"""However much a body becomes, and however many come at once, the memory is bounded."""

import asyncio
import subprocess
import sys
import tracemalloc

import pytest

from services.contract.api.errors import ErrorCode
from tests.unit.edge.test_body import COMPRESS, gibibyte_of_zeros, reading, refusal, request


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_is_refused_without_inflating_it(encoding: str) -> None:
    bomb = gibibyte_of_zeros(encoding)
    assert len(bomb) < 10 * 1024 * 1024
    limit = 10 * 1024 * 1024
    tracemalloc.start()
    try:
        assert refusal(bomb, encoding, limit).code is ErrorCode.BODY_TOO_LARGE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * limit


_REFUSES = """
import resource, sys
from services.contract.api.errors import ApiError
from services.edge.http.inflate import inflate
body, encoding, limit = sys.stdin.buffer.read(), sys.argv[1], int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    inflate(body, encoding, limit)
except ApiError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_costs_the_process_no_more(encoding: str) -> None:
    """With what the libraries take for themselves, and do not tell Python of."""
    limit = 10 * 1024 * 1024
    command = [sys.executable, "-c", _REFUSES, encoding, str(limit)]
    done = subprocess.run(command, input=gibibyte_of_zeros(encoding), capture_output=True, check=True)  # noqa: S603
    assert 1024 * int(done.stdout) < 4 * limit


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate", "br"])
async def test_small_bodies_that_become_large_are_inflated_one_at_a_time(encoding: str) -> None:
    """However many come at once, the memory is that of one."""
    size = 10 * 1024 * 1024
    body, text = COMPRESS[encoding](b"0" * size), {"content-encoding": encoding}
    bodies, _, _ = reading(size)

    async def one(project: str) -> int:
        with await bodies.read(request([body], text), project) as inflated:
            assert inflated.is_large
            return await inflated.in_thread(len)

    tracemalloc.start()
    try:
        sizes = await asyncio.gather(*[one(f"project {n % 3}") for n in range(20)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [size] * 20
    assert peak < 4 * size
