"""A collector of traces that never answers holds up nothing."""

import socket
import threading
import time

import pytest

from services.runtime import traces as traces_module
from services.runtime.settings import EdgeSettings
from services.runtime.traces import SERVER, traces_of


def test_a_collector_that_never_answers_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces_module, "_CLOSE_S", 0.2)
    monkeypatch.setattr(traces_module, "_EXPORT_TIMEOUT_S", 0.5)
    others = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        traces = traces_of(EdgeSettings(traces_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"), "edge")
        assert traces is not None
        began = time.monotonic()
        for _ in range(3000):
            traces.begin("a", SERVER).end()
        traces.close()
        traces.close()
        assert time.monotonic() - began < 3
    # They draw random numbers for their pauses: Hypothesis refuses that beside the tests that come after.
    for thread in set(threading.enumerate()) - others:
        thread.join(10)
        assert not thread.is_alive(), thread.name
