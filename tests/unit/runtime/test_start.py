"""How a service begins."""

import pytest
from structlog.testing import capture_logs

from services.runtime import start
from services.runtime.settings import LogSettings, QuerySettings


def test_names_that_no_setting_has_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[tuple[LogSettings, str]] = []
    monkeypatch.setattr(start, "configure_logs", lambda *arguments: configured.append(arguments))
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_PASWORD", "sesame")
    monkeypatch.setenv("HEADRACE_QUERY_PORT", "9002")
    with capture_logs() as lines:
        settings = start.start_service(QuerySettings, "query")
    assert settings.query_port == 9002
    assert configured == [(settings, "query")]
    assert lines == [
        {
            "event": "unknown_setting",
            "log_level": "warning",
            "variable": "HEADRACE_CLICKHOUSE_PASWORD",
            "nearest": "HEADRACE_CLICKHOUSE_PASSWORD",
        }
    ]
