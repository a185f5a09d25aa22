"""All settings: environment variables only, prefix HEADRACE_. deploy/env.full lists them; a test keeps it complete."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from services.runtime.connections import ConnectionLimits
from services.runtime.environment import Settings, UnknownVariable, unknown_variables, variables_of
from services.runtime.key_strength import weakness_of

_LEAST_QUERY_MEMORY_BYTES = 8 * 1024**2

Port = Annotated[int, Field(ge=0, le=65535)]


_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s,:/@?#\[\]]+)"
_BROKER = rf"{_HOST}(:\d{{1,5}})?"
_HTTP_ADDRESS = rf"https?://{_HOST}(:(?P<port>\d{{1,5}}))?/?"


def _brokers(value: str) -> str:
    if not re.fullmatch(rf"{_BROKER}(,{_BROKER})*", value):
        raise ValueError("write host:port[,host:port]")
    return value


def _http_address(value: str) -> str:
    """A user, a database or a port in the wrong place would be passed over in silence."""
    parts = re.fullmatch(_HTTP_ADDRESS, value)
    if parts is None or int(parts["port"] or 0) > 65535:
        raise ValueError("write http://host:port or https://host:port, and nothing behind it")
    return value


class KafkaSettings(Settings):
    """Where the event log is."""

    kafka_bootstrap: Annotated[str, AfterValidator(_brokers)] = Field(
        default="127.0.0.1:9092", description="Brokers, comma-separated host:port."
    )
    kafka_topic_prefix: str = Field(
        default="headrace", pattern=r"^[a-zA-Z0-9_.-]{1,100}$", description="First part of topic names."
    )
    kafka_partitions: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Partitions of new topics. `headrace partitions use` changes how many of them are used.",
    )
    kafka_replication: int = Field(default=1, ge=1, le=15, description="Replicas of new topics; 3 in production.")
    kafka_min_insync_replicas: int = Field(
        default=1, ge=1, le=15, description="min.insync.replicas of new topics; 2 in production."
    )
    kafka_retention_hours: int = Field(
        default=168,
        ge=1,
        description="How long new topics keep records. Where topics of your own keep them longer, say so here.",
    )
    kafka_idempotence: bool = Field(default=True, description="Idempotent producer. Off only for brokers that lack it.")
    kafka_compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        default="zstd", description="Compression of records."
    )


class GroupSettings(Settings):
    """Who reads the event log."""

    worker_group: str = Field(
        default="headrace-worker", pattern=r"^[a-zA-Z0-9_.-]{1,200}$", description="Consumer group."
    )


class ClickHouseSettings(Settings):
    """Where the store is."""

    clickhouse_url: Annotated[str, AfterValidator(_http_address)] = Field(
        default="http://127.0.0.1:8123", description="HTTP(S) address of ClickHouse."
    )
    clickhouse_database: str = Field(
        default="headrace", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,63}$", description="Name of the database."
    )
    clickhouse_user: str = Field(default="default", description="User to log in as.")
    clickhouse_password: str = Field(default="", description="Password of that user.", repr=False)
    clickhouse_cluster: str = Field(
        default="",
        pattern=r"^[a-zA-Z0-9_-]{0,64}$",
        description="Name of the cluster for ON CLUSTER and Replicated tables; empty: one server, plain tables.",
    )
    clickhouse_timeout_s: float = Field(default=60, gt=0, description="How long one request to ClickHouse may take.")


class LogSettings(Settings):
    """What a process logs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["json", "console"] = Field(default="json", description="json for machines, console for people.")


class HttpSettings(Settings):
    """What edge, query service and the development gateway take of strangers."""

    http_max_connections: int = Field(
        default=4096, ge=1, le=100_000, description="Connections that one process keeps at once; above it: 503."
    )
    http_max_connections_per_address: int = Field(
        default=1024,
        ge=0,
        description="Connections of one address among them; 0: no limit, for services behind a gateway that has one.",
    )

    def connection_limits(self) -> ConnectionLimits:
        return ConnectionLimits(self.http_max_connections, self.http_max_connections_per_address)


class EdgeSettings(HttpSettings, KafkaSettings, ClickHouseSettings, LogSettings):
    """The ingest edge."""

    edge_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    edge_port: Port = Field(default=8001, description="Port to listen on.")
    edge_publish_timeout_s: float = Field(
        default=10, gt=0, description="How long a request waits for the brokers' acknowledgement before it answers 503."
    )
    edge_max_pending_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of events that may wait for Kafka; more get 503.",
    )
    edge_max_body_bytes: int = Field(
        default=10 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024, description="Limit of one body, decompressed."
    )
    edge_rate_limit_events_s: int = Field(
        default=0, ge=0, description="Events a second that one project may send through this process; 0: no limit."
    )
    edge_rate_limit_requests_s: int = Field(
        default=0, ge=0, description="Requests a second of one project, refused ones included; 0: no limit."
    )
    edge_rate_limit_bytes_s: int = Field(
        default=0,
        ge=0,
        description="Bytes a second of one project, as they come and what they inflate to; 0: no limit.",
    )
    edge_max_reading_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of bodies that come in parts or wait for their turn; above it, and above half of it for one "
        "project, requests are refused.",
    )
    edge_drain_timeout_s: int = Field(default=20, ge=1, description="On SIGTERM: how long requests under way may take.")
    keys_refresh_s: float = Field(
        default=2,
        gt=0,
        le=60,
        description="How often project keys, and in the query service promoted properties, are read again.",
    )


class WorkerSettings(GroupSettings, KafkaSettings, ClickHouseSettings, LogSettings):
    """The worker."""

    worker_host: str = Field(default="127.0.0.1", description="Address of health and metrics.")
    worker_port: Port = Field(default=8003, description="Port of health and metrics.")
    worker_block_events: int = Field(
        default=100_000, ge=1, description="A block is inserted when it holds so many events."
    )
    worker_block_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="A block is inserted when it holds so many bytes."
    )
    worker_block_age_s: float = Field(
        default=0.35, gt=0, le=60, description="A block is inserted when its oldest event has waited so long."
    )
    worker_block_records: int = Field(
        default=2000, ge=1, description="A block is inserted when it holds so many Kafka records."
    )
    worker_dedupe_window_hours: int = Field(
        default=168, ge=1, le=8760, description="How far back a repeated idempotency key is recognised."
    )
    worker_dedupe: Literal["memory", "clickhouse"] = Field(
        default="memory",
        description="Where the event ids of the dedupe window are looked up: in memory, or in ClickHouse (slower).",
    )
    worker_index_max_bytes: int = Field(
        default=0, ge=0, description="Memory for the event ids; 0: 60 % of the memory that the process may use."
    )
    worker_dead_letter_max_ratio: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="The worker stops when more than this part of the last 1000 lines was bad.",
    )
    worker_instance_id: str = Field(
        default="",
        pattern=r"^[a-zA-Z0-9_.-]{0,200}$",
        description="A name that this worker alone has, also after a restart (a pod's of a StatefulSet): back within the "
        "session timeout, it goes on with its partitions, and the others keep theirs. Empty: partitions move at each restart.",
    )
    worker_session_timeout_s: float = Field(
        default=30, ge=6, description="Kafka gives a worker's partitions to others after so many seconds of silence."
    )
    worker_read_again_minutes: int = Field(
        default=10,
        ge=0,
        le=1440,
        description="When ClickHouse was started again, the last minutes of the log are read again, and what it lost with the "
        "power is stored again. 0: never.",
    )
    worker_drain_timeout_s: int = Field(default=30, ge=1, description="On SIGTERM: how long the last insert may take.")


class QuerySettings(GroupSettings, HttpSettings, KafkaSettings, ClickHouseSettings, LogSettings):
    """The query service."""

    query_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    query_port: Port = Field(default=8002, description="Port to listen on.")
    query_max_execution_s: float = Field(default=20, gt=0, description="Time limit of one query in ClickHouse.")
    query_max_memory_bytes: int = Field(default=2 * 1024**3, ge=64 * 1024**2, description="Memory limit of one query.")
    query_concurrency: int = Field(
        default=8, ge=1, description="Queries of all projects that run at once; the others wait in the order they came."
    )
    query_max_memory_in_all_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory limit of all queries that run at once; 0: twice that of one query. While one of a project has "
        "the limit of one query, its others have less.",
    )
    query_max_rows: int = Field(default=1_000_000_000, ge=1, description="Rows that one query may read.")
    query_concurrency_per_project: int = Field(default=4, ge=1, description="Queries of one project that run at once.")
    query_queue_per_project: int = Field(
        default=32, ge=0, description="Queries of one project that may wait; more get 429."
    )
    query_max_answers_bytes: int = Field(
        default=128 * 1024**2,
        ge=32 * 1024**2,
        description="Bytes of answers that clients have not read yet; above it, and above half of it for one project, "
        "queries are refused.",
    )
    query_deletions_per_project: int = Field(
        default=10_000, ge=1, description="Deletions of one project that are not done yet; above it: 429."
    )
    query_deletions_pause_s: float = Field(
        default=3,
        ge=0,
        le=3600,
        description="Deletions of a project are done together when none was asked for during so long, or after twenty times that. "
        "Longer rewrites large tables less often.",
    )
    query_deletions_sweep_s: float = Field(
        default=3600, gt=0, description="How often data of deleted people that came in late are looked for and deleted."
    )
    query_drain_timeout_s: int = Field(
        default=20, ge=1, description="On SIGTERM: how long requests under way may take."
    )
    keys_refresh_s: float = Field(
        default=2,
        gt=0,
        le=60,
        description="How often project keys, and in the query service promoted properties, are read again.",
    )

    @field_validator("query_max_memory_in_all_bytes")
    @classmethod
    def _memory_is_enough(cls, value: int, info: ValidationInfo) -> int:
        large, concurrency = info.data.get("query_max_memory_bytes", 0), info.data.get("query_concurrency", 0)
        least = large + concurrency * _LEAST_QUERY_MEMORY_BYTES
        if 0 < value < least:
            raise ValueError(
                f"must be at least {least}: HEADRACE_QUERY_MAX_MEMORY_BYTES, and 8 MiB for each of "
                "HEADRACE_QUERY_CONCURRENCY"
            )
        return value


def _strong_key(value: str) -> str:
    weakness = weakness_of(value) if value else None
    if weakness:
        raise ValueError(weakness)
    return value


class StackSettings(Settings):
    """The development stack as a whole; the services it starts have their own settings."""

    port: int = Field(default=8000, ge=1, le=65535, description="The one address, on 127.0.0.1, that serves all calls.")
    data: Path = Field(default=Path(".data"), description="Folder of what is kept between runs.")
    broker: str = Field(
        default="embedded",
        pattern=r"^(embedded|apache|[^\s,:]+:\d+(,[^\s,:]+:\d+)*)$",
        description="embedded, apache (by Maven), or the host:port[,host:port] of a running one.",
    )
    log_console: bool = Field(default=False, description="Show here, too, what the processes log.")
    drain_timeout_s: float = Field(
        default=60, gt=0, description="On a stop: how long storing what was accepted may take."
    )
    api_key: Annotated[str, AfterValidator(_strong_key)] = Field(
        default="",
        validation_alias="INFRAI_API_KEY",
        repr=False,
        description="Key of the development project, with both scopes, of at least 128 bits; empty: one is made and kept in the "
        "data folder.",
    )


ALL_SETTINGS: tuple[type[Settings], ...] = (EdgeSettings, WorkerSettings, QuerySettings, StackSettings)


def unknown_settings() -> list[UnknownVariable]:
    """The variables of this process that look like settings of any part of Headrace and are none."""
    return unknown_variables(variables_of(ALL_SETTINGS), os.environ)
