"""Several things at once, of which all are needed."""

from asyncio import TaskGroup
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def at_once() -> AsyncIterator[TaskGroup]:
    """Ends when all tasks have. When one fails the others are stopped, and its error is raised as if nothing else had run."""
    try:
        async with TaskGroup() as tasks:
            yield tasks
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
