"""Logs are a whole process's: who changes how they are written puts that back."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

Logs = tuple[list[logging.Handler], int, dict[str, int]]


def _logs() -> Logs:
    root = logging.getLogger()
    loggers = root.manager.loggerDict.items()
    levels = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger)}
    return list(root.handlers), root.level, levels


@pytest.fixture(scope="module", autouse=True)
def _logs_are_left_as_they_were() -> Iterator[None]:
    """Else all tests that follow would write lines, to files that are closed: each of these is an error of its own."""
    handlers, level, levels = _logs()
    yield
    handlers_after, level_after, levels_after = _logs()
    assert (handlers_after, level_after) == (handlers, level), "use the fixture logs_as_before"
    changed = {name for name, before in levels.items() if levels_after[name] != before}
    assert not changed, "use the fixture logs_as_before"


@pytest.fixture
def logs_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For what calls configure_logs."""
    configure = structlog.configure

    def configure_without_cache(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure_without_cache)
    root = logging.getLogger()
    handlers, level, levels = _logs()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in _logs()[2]:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
