"""A port that was chosen stays ours until its server listens: between the two, anybody may open a connection."""

import socket
import sys

import pytest

from services.devstack.child_process import free_port


@pytest.mark.skipif(sys.platform != "linux", reason="a port is held only on Linux")
def test_a_chosen_port_is_had_by_its_server_alone() -> None:
    port = free_port()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with socket.create_server(("127.0.0.1", port)):  # and again, after a restart
        pass
    assert free_port() != port


def test_nobody_answers_at_a_chosen_port() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()), timeout=5).close()
