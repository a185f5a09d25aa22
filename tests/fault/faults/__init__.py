"""The faults, by what they strike. Each is one coroutine function that brings a fault about and undoes it, and returns
when its cause is gone; what it finds wrong it writes down in the scene."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fault.scene import Scene


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Scene], Awaitable[None]]
