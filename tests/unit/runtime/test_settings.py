"""Settings come from the environment, and a wrong one is refused at the start."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from services.runtime.environment import SettingsError, read_settings
from services.runtime.settings import ClickHouseSettings, EdgeSettings, KafkaSettings, QuerySettings, WorkerSettings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_EDGE_PORT", "9001")
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", "a:9092,b:9092")
    monkeypatch.setenv("HEADRACE_UNKNOWN", "x")
    settings = EdgeSettings()
    assert (settings.edge_port, settings.kafka_bootstrap) == (9001, "a:9092,b:9092")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (EdgeSettings, "EDGE_PORT", "70000"),
        (EdgeSettings, "EDGE_PUBLISH_TIMEOUT_S", "0"),
        (EdgeSettings, "EDGE_RATE_LIMIT_EVENTS_S", "-1"),
        (KafkaSettings, "KAFKA_TOPIC_PREFIX", "with space"),
        (KafkaSettings, "KAFKA_PARTITIONS", "0"),
        (KafkaSettings, "KAFKA_COMPRESSION", "brotli"),
        (ClickHouseSettings, "CLICKHOUSE_DATABASE", "x; DROP TABLE events"),
        (ClickHouseSettings, "CLICKHOUSE_CLUSTER", "it's"),
        (WorkerSettings, "WORKER_DEAD_LETTER_MAX_RATIO", "1.1"),
        (WorkerSettings, "WORKER_DEDUPE_WINDOW_HOURS", "0"),
        (QuerySettings, "QUERY_MAX_ROWS", "many"),
    ],
)
def test_a_wrong_value_is_refused_and_named(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[[], BaseSettings], name: str, value: str
) -> None:
    monkeypatch.setenv(f"HEADRACE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        kind()


def test_the_memory_of_all_queries_has_room_for_one_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_QUERY_MAX_MEMORY_IN_ALL_BYTES", str(2 * 1024**3))
    with pytest.raises(SettingsError) as refused:
        read_settings(QuerySettings)
    assert str(refused.value) == (
        "HEADRACE_QUERY_MAX_MEMORY_IN_ALL_BYTES: must be at least 2214592512: HEADRACE_QUERY_MAX_MEMORY_BYTES, and 8 MiB "
        "for each of HEADRACE_QUERY_CONCURRENCY"
    )


def test_a_password_is_not_shown() -> None:
    assert "sesame" not in repr(ClickHouseSettings(clickhouse_password="sesame"))


@pytest.mark.parametrize("kind", [EdgeSettings, WorkerSettings, QuerySettings])
def test_every_setting_says_what_it_is(kind: type[BaseSettings]) -> None:
    for name, field in kind.model_fields.items():
        assert field.description, name
