"""What `make run` runs: the development stack, from its first line to its exit status."""

import os
import signal
import socket
from types import FrameType

from services.devstack.data_lock import locked
from services.devstack.development_key import development_key
from services.devstack.stack import Stack, StackError
from services.runtime.environment import read_settings
from services.runtime.operator_errors import OperatorError, print_error
from services.runtime.settings import StackSettings, unknown_settings


class StopRequestedError(Exception):
    """SIGTERM or SIGINT."""


class _Signals:
    """The first signal raises, wherever the stack is; a later one asks to be quick about the end."""

    def __init__(self) -> None:
        self.armed = True
        self._hurried = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def is_hurried(self) -> bool:
        return self._hurried

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise StopRequestedError
        self._hurried = True


def run() -> int:
    """Start, say `ready`, and stay until a signal (0) or until a part dies (1)."""
    os.umask(0o077)  # also for what the parts write: logs, and all data
    try:
        settings = read_settings(StackSettings)
        for variable in unknown_settings():
            print_error(f"warning: {variable}")
        with locked(settings.data):
            return _run(settings)
    except (OperatorError, OSError) as error:
        return _failed(error)


def _run(settings: StackSettings) -> int:
    stack, signals, status = Stack(settings, _say), _Signals(), 0
    try:
        _check_port(settings.port)
        stack.start()
        _say_ready(stack, settings)
        stack.watch()
    except StopRequestedError:
        _say("stopping: what was accepted is stored first (a second signal does not wait for it)")
    except (OperatorError, OSError) as error:
        status = _failed(error)
    finally:
        signals.armed = False
        kept = stack.stop(signals.is_hurried)
    if not kept:
        return _failed("not everything that was accepted was stored; what was only in the broker's memory is gone")
    return status


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(
                f"port {port} of 127.0.0.1 cannot be had ({error.strerror}); stop what uses it, or set HEADRACE_PORT"
            ) from None


def _say_ready(stack: Stack, settings: StackSettings) -> None:
    key, ours = development_key(settings)
    if ours:
        _say(f"export INFRAI_API_KEY={key}")
    _say(f"ready {stack.base_url}")
    # Behind `#`: browsers send it to nobody, and the console takes it out of the address.
    _say(f"console: {stack.base_url}/console/{f'sign-in#key={key}' if ours else ''}")
    _say(f"API reference: {stack.base_url}/docs")
    _say(
        f"curl -X POST {stack.base_url}/v1/analytics/track "
        '-H "Authorization: Bearer $INFRAI_API_KEY" -H "Content-Type: application/json" '
        '-d \'{"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}}\''
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _failed(reason: object) -> int:
    print_error(reason)
    return 1
