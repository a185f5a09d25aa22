"""A thread that looks at something every so often while it is entered."""

import threading
from typing import Generic, Self, TypeVar

M = TypeVar("M")


class Sampler(Generic[M]):
    """`moments`: what it has seen. `look` is of who inherits it; None: there was nothing to see, and it looks again next time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.moments: list[M] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> M | None:
        raise NotImplementedError

    def _run(self) -> None:
        while not self._over.is_set():
            if (moment := self.look()) is not None:
                self.moments.append(moment)
            self._over.wait(self._every_s)
