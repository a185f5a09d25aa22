"""The wheel's engine, listening with the configuration of the working directory until SIGTERM."""

import os
import signal
import threading

from services.devstack.embedded_engine import FORMAT, LISTEN, load

_ENDING = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    """The engine has no way to be asked to end from outside: what it was asked to store is on disk, and it is killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    engine = load()

    def serve() -> None:
        try:
            engine.query(LISTEN, FORMAT, path="/var/lib/clickhouse")
        finally:
            os._exit(1)

    threading.Thread(target=serve, daemon=True).start()
    signal.sigwait(_ENDING)
    os._exit(0)


if __name__ == "__main__":
    main()
