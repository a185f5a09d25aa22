"""Turns for bodies that take long: one at a time, a project's after another project's, and others are served in between.

A single event needs a handful of passes of the loop. Were each pass as long as all the bodies that have just come in, one
client's bodies would be everybody's delay.
"""

import asyncio
from collections import OrderedDict, deque
from time import perf_counter

# After work on the loop of at least so long, the loop is left to others for a part of that time.
_LONG_S = 0.005
_REST = 0.25


class Turns:
    """Belongs to one event loop. Each `take` is followed by one `give_back`."""

    def __init__(self) -> None:
        self._is_taken = False
        self._since = 0.0
        # Waiting by project; the first project is the next.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def are_taken(self) -> bool:
        """Whether somebody works, or waits for a turn."""
        return self._is_taken or bool(self._waiting)

    async def take(self, project_id: str) -> None:
        """Returns when it is this one's turn."""
        if self._is_taken:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(project_id, deque()).append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self.give_back()  # it was given and not used
                raise
        self._is_taken = True
        self._since = perf_counter()

    def give_back(self) -> None:
        """The next one's turn comes with the next pass of the loop, or a while later."""
        took = perf_counter() - self._since
        loop = asyncio.get_running_loop()
        if took < _LONG_S:
            loop.call_soon(self._next)
        else:
            loop.call_later(took * _REST, self._next)

    def rested(self) -> None:
        """The loop was others' until here: time in which a thread worked is no time of the loop."""
        self._since = perf_counter()

    def _next(self) -> None:
        while self._waiting:
            project_id, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[project_id] = turns  # behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
