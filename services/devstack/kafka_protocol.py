"""One query in Kafka's wire protocol, to see whether a broker serves: no client library, no event loop."""

import socket
import struct

_API_VERSIONS = 18
_CORRELATION = 7


def answers(port: int, timeout_s: float = 2) -> bool:
    """Whether a broker on 127.0.0.1 answers ApiVersions (version 0, which every broker understands)."""
    # Header: key, version, correlation id, no client id. Answer: length, correlation id, error code.
    request = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(10, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">ih", head[4:]) == (_CORRELATION, 0)
