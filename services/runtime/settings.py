"""All settings: environment variables only, prefix HEADRACE_. deploy/env.full lists them; a test keeps it complete."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from services.runtime.connections import ConnectionLimits
from services.runtime.environment import (
    Settings,
    SettingsError,
    UnknownVariable,
    refuse,
    unknown_variables,
    variables_of,
)
from services.runtime.key_strength import weakness_of
from services.runtime.operator_errors import OperatorError
from services.runtime.tls import TlsFiles
from services.runtime.tokens import load_hook

# Workers must know the ids of events for the dedupe window, 7 days unless it is set otherwise.
LEAST_RETENTION_DAYS, MOST_RETENTION_DAYS = 8, 36_500
_LEAST_QUERY_MEMORY_BYTES = 8 * 1024**2

Port = Annotated[int, Field(ge=0, le=65535)]


_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s,:/@?#\[\]]+)"
_BROKER = rf"{_HOST}(:\d{{1,5}})?"
# A user may stand before the host, and a path behind it: of a gateway that leads to several servers.
_HTTP_ADDRESS = rf"https?://((?P<user>[^\s:/@?#]+)@)?{_HOST}(:(?P<port>\d{{1,5}}))?(?P<path>/[^\s?#]*)?"
_EXTENSION = r"[a-zA-Z]+=[^\s,=]+"


def _brokers(value: str) -> str:
    if not re.fullmatch(rf"{_BROKER}(,{_BROKER})*", value):
        raise ValueError("write host:port[,host:port]")
    return value


def _http_address(value: str) -> str:
    """A database or a port in the wrong place would be passed over in silence."""
    parts = re.fullmatch(_HTTP_ADDRESS, value)
    if parts is None or int(parts["port"] or 0) > 65535:
        raise ValueError(
            "write http://host:port or https://user@host:port/path: the password and the database have settings of "
            "their own"
        )
    return value


def _refuse_unusable(use: Callable[[], object]) -> None:
    """Of files and functions that settings name. Raises SettingsError."""
    try:
        use()
    except OperatorError as error:
        raise SettingsError(str(error)) from None


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
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How brokers are spoken to: SSL is TLS, SASL is with a log-in."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="PLAIN", description="How to log in to the brokers, where the protocol has SASL."
    )
    kafka_sasl_username: str = Field(default="", description="User for PLAIN and SCRAM.")
    kafka_sasl_password: str = Field(default="", repr=False, description="Password of that user.")
    kafka_oauth_token_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="For OAUTHBEARER: where tokens are asked for with client credentials.",
    )
    kafka_oauth_client_id: str = Field(default="", description="For OAUTHBEARER: id of the client.")
    kafka_oauth_client_secret: str = Field(default="", repr=False, description="For OAUTHBEARER: secret of the client.")
    kafka_oauth_scope: str = Field(default="", description="For OAUTHBEARER: scope of the tokens, where it is needed.")
    kafka_oauth_extensions: str = Field(
        default="",
        pattern=rf"^({_EXTENSION}(,{_EXTENSION})*)?$",
        description="For OAUTHBEARER: SASL extensions, name=value[,name=value], where brokers want some.",
    )
    kafka_oauth_hook: str = Field(
        default="",
        pattern=r"^([\w.]+:\w+)?$",
        description="For OAUTHBEARER, in the place of client credentials: module:function of a function that returns a token "
        "and the Unix time at which it expires.",
    )
    kafka_ca_file: str = Field(
        default="", description="PEM file of the CA of the brokers' certificates; empty: what the system trusts."
    )
    kafka_certificate_file: str = Field(default="", description="PEM file of the client's certificate, for mutual TLS.")
    kafka_key_file: str = Field(
        default="", description="PEM file of that certificate's key; empty: the key is in the same file."
    )

    @model_validator(mode="after")
    def _kafka_is_whole(self) -> Self:
        refuse("HEADRACE_KAFKA_", [*self._wrong_replicas(), *self._wrong_login(), *self._wrong_tls()])
        if self.kafka_has_tls:
            _refuse_unusable(self.kafka_tls_files.context)
        if self.kafka_oauth_hook:
            _refuse_unusable(lambda: load_hook(self.kafka_oauth_hook))
        return self

    def _wrong_replicas(self) -> Iterator[str]:
        if self.kafka_min_insync_replicas > self.kafka_replication:
            yield (
                f"MIN_INSYNC_REPLICAS: {self.kafka_min_insync_replicas} of HEADRACE_KAFKA_REPLICATION="
                f"{self.kafka_replication} replicas can never be in sync: no event would be taken"
            )

    def _wrong_login(self) -> Iterator[str]:
        logs_in = self.kafka_security_protocol.startswith("SASL_")
        is_oauth = logs_in and self.kafka_sasl_mechanism == "OAUTHBEARER"
        has_user, has_hook = bool(self.kafka_sasl_username), bool(self.kafka_oauth_hook)
        has_client = bool(self.kafka_oauth_token_url or self.kafka_oauth_client_id)
        if (has_user or has_client or has_hook) and not logs_in:
            yield f"SECURITY_PROTOCOL: {self.kafka_security_protocol} does not log in; SASL_SSL does"
        elif is_oauth and has_client == has_hook:
            yield "SASL_MECHANISM: OAUTHBEARER needs HEADRACE_KAFKA_OAUTH_TOKEN_URL or HEADRACE_KAFKA_OAUTH_HOOK, one of both"
        elif is_oauth and has_client:
            for name in ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"):
                if not getattr(self, f"kafka_oauth_{name.lower()}"):
                    yield f"OAUTH_{name}: is missing"
        elif logs_in and not is_oauth:
            for name in ("USERNAME", "PASSWORD"):
                if not getattr(self, f"kafka_sasl_{name.lower()}"):
                    yield f"SASL_{name}: {self.kafka_sasl_mechanism} needs one"

    def _wrong_tls(self) -> Iterator[str]:
        if not self.kafka_has_tls and (self.kafka_ca_file or self.kafka_certificate_file or self.kafka_key_file):
            yield f"SECURITY_PROTOCOL: {self.kafka_security_protocol} has no TLS; SSL and SASL_SSL have"
        if self.kafka_key_file and not self.kafka_certificate_file:
            yield "CERTIFICATE_FILE: HEADRACE_KAFKA_KEY_FILE is the key of no certificate"

    @property
    def kafka_has_tls(self) -> bool:
        return self.kafka_security_protocol in ("SSL", "SASL_SSL")

    @property
    def kafka_tls_files(self) -> TlsFiles:
        return TlsFiles("HEADRACE_KAFKA_", self.kafka_ca_file, self.kafka_certificate_file, self.kafka_key_file)


class GroupSettings(KafkaSettings):
    """Who reads the event log."""

    worker_group: str = Field(
        default="",
        pattern=r"^[a-zA-Z0-9_.-]{0,200}$",
        description="Consumer group; empty: HEADRACE_KAFKA_TOPIC_PREFIX with -worker behind it.",
    )

    @property
    def group(self) -> str:
        """Installations that share a Kafka have other prefixes: their workers must not be of one group."""
        return self.worker_group or f"{self.kafka_topic_prefix}-worker"


class ClickHouseSettings(Settings):
    """Where the store is."""

    clickhouse_url: Annotated[str, AfterValidator(_http_address)] = Field(
        default="http://127.0.0.1:8123",
        description="HTTP(S) address of ClickHouse. A user may stand before the host, a path behind it.",
    )
    clickhouse_database: str = Field(
        default="headrace", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,63}$", description="Name of the database."
    )
    clickhouse_user: str = Field(default="default", description="User to log in as.")
    clickhouse_password: str = Field(default="", description="Password of that user.", repr=False)
    clickhouse_cluster: str = Field(
        default="",
        pattern=r"^[a-zA-Z0-9_-]{0,64}$",
        description="Name of ClickHouse's cluster (experimental): events on its shards, all else on every node, replicated; empty: "
        "one server. The same for all services and for `headrace migrate`.",
    )
    clickhouse_timeout_s: float = Field(default=60, gt=0, description="How long one request to ClickHouse may take.")
    clickhouse_ca_file: str = Field(
        default="",
        description="PEM file of the CA of ClickHouse's certificate, beside what the system trusts.",
    )
    clickhouse_certificate_file: str = Field(
        default="", description="PEM file of the client's certificate. Without a password it logs in by itself."
    )
    clickhouse_key_file: str = Field(
        default="",
        description="PEM file of the key of HEADRACE_CLICKHOUSE_CERTIFICATE_FILE; empty: it is in the same file.",
    )

    @model_validator(mode="after")
    def _clickhouse_is_whole(self) -> Self:
        refuse("HEADRACE_CLICKHOUSE_", self._wrong_clickhouse())
        if self.clickhouse_url.startswith("https:"):
            _refuse_unusable(self.clickhouse_tls_files.context)
        return self

    def _wrong_clickhouse(self) -> Iterator[str]:
        has_file = self.clickhouse_ca_file or self.clickhouse_certificate_file or self.clickhouse_key_file
        if has_file and not self.clickhouse_url.startswith("https:"):
            yield "URL: HEADRACE_CLICKHOUSE_CA_FILE and certificates are for https://"
        if self.clickhouse_key_file and not self.clickhouse_certificate_file:
            yield "CERTIFICATE_FILE: HEADRACE_CLICKHOUSE_KEY_FILE is the key of no certificate"
        in_url = urlsplit(self.clickhouse_url).username
        if in_url and self.clickhouse_user not in ("default", unquote(in_url)):
            yield "USER: HEADRACE_CLICKHOUSE_URL has another user in it: keep one"

    @property
    def clickhouse_login(self) -> str:
        """The user to log in as, wherever it is set."""
        return unquote(urlsplit(self.clickhouse_url).username or "") or self.clickhouse_user

    @property
    def clickhouse_tls_files(self) -> TlsFiles:
        return TlsFiles(
            "HEADRACE_CLICKHOUSE_", self.clickhouse_ca_file, self.clickhouse_certificate_file, self.clickhouse_key_file
        )


class LogSettings(Settings):
    """What a process logs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["json", "console"] = Field(default="json", description="json for machines, console for people.")


class TracesSettings(Settings):
    """Traces by OpenTelemetry, from a request to the insert."""

    traces_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Address that takes OTLP over HTTP, as http://collector:4318; empty: no traces. Needs the extra `traces`.",
    )
    traces_sample_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Which part of all requests is traced, of those with a trace of their own too.",
    )


class HttpSettings(Settings):
    """What edge, query service, console and the development gateway take of strangers."""

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


class EdgeSettings(HttpSettings, KafkaSettings, ClickHouseSettings, LogSettings, TracesSettings):
    """The ingest edge."""

    edge_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    edge_port: Port = Field(default=8001, description="Port to listen on.")
    edge_publish_timeout_s: float = Field(
        default=10, gt=0, description="How long a request waits for the brokers' acknowledgement before it answers 503."
    )
    edge_linger_ms: float = Field(
        default=10,
        ge=0,
        le=20,
        description="At least so many milliseconds lie between two sends to Kafka, so that small requests share records, unless "
        "half of the connections wait for one; 0: send at once.",
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
    edge_quota_events_day: int = Field(
        default=0,
        ge=0,
        description="Events that one project may send on one day (UTC) through all edges together; 0: no limit. "
        "`headrace projects set` says so for one project.",
    )
    edge_max_reading_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of bodies that come in parts or wait for their turn; above it, and above half of it for one "
        "project, requests are refused.",
    )
    edge_drain_timeout_s: int = Field(default=20, ge=1, description="On SIGTERM: how long requests under way may take.")
    edge_sdk_families: str = Field(
        default="segment,posthog",
        pattern=r"^((segment|posthog|amplitude|mixpanel)(,(segment|posthog|amplitude|mixpanel))*)?$",
        description="Families of SDKs whose calls are answered: segment, posthog, amplitude, mixpanel, comma-separated; empty: none.",
    )
    edge_sdk_group_type: str = Field(
        default="group",
        min_length=1,
        max_length=200,
        description="Type of the groups of SDKs that name none (Segment, RudderStack, Jitsu).",
    )
    edge_sdk_request_properties: bool = Field(
        default=False,
        description="Events of SDKs get the IP and User-Agent of their request as `$ip` and `$user_agent`.",
    )
    keys_refresh_s: float = Field(
        default=2,
        gt=0,
        le=60,
        description="How often project keys, and in the query service promoted properties and what has expired, are read again.",
    )


class WorkerSettings(GroupSettings, ClickHouseSettings, LogSettings, TracesSettings):
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
        default=0.35,
        gt=0,
        le=60,
        description="A block is inserted when its oldest event has waited so long; after half of it, where the last block "
        "was stored quickly.",
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
        default=10, ge=6, description="Kafka gives a worker's partitions to others after so many seconds of silence."
    )
    worker_read_again_minutes: int = Field(
        default=10,
        ge=0,
        le=1440,
        description="When ClickHouse was started again, the last minutes of the log are read again, and what it lost with the "
        "power is stored again. 0: never.",
    )
    worker_drain_timeout_s: int = Field(default=30, ge=1, description="On SIGTERM: how long the last insert may take.")


class QuerySettings(GroupSettings, HttpSettings, ClickHouseSettings, LogSettings):
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
    query_max_kept_bytes: int = Field(
        default=64 * 1024**2,
        ge=0,
        description="Bytes of results that are kept while the data that they were made of are the same; 0: none.",
    )
    query_skip_unavailable_shards: bool = Field(
        default=False,
        description="On a cluster, where a shard is away: answer queries without its events, with `partial`: true. Else: 503.",
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
    query_catalog_every_s: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="How often the catalog is compared with what is stored, where that takes little; after a long time it rests longer.",
    )
    query_promote_up_to: int = Field(
        default=3,
        ge=0,
        description="A property that queries read from the text all the time gets a column of its own, while fewer than so many "
        "have one. 0: only `headrace properties promote` gives columns.",
    )
    events_retention_days: int = Field(
        default=0,
        ge=0,
        le=MOST_RETENTION_DAYS,
        description="Days after which events end, by their timestamp: no answer shows them, and later they leave the disk. "
        "0: never. `headrace projects set` says so for one project. At least 8, and no shorter than the dedupe window.",
    )
    query_drain_timeout_s: int = Field(
        default=20, ge=1, description="On SIGTERM: how long requests under way may take."
    )
    keys_refresh_s: float = Field(
        default=2,
        gt=0,
        le=60,
        description="How often project keys, and in the query service promoted properties and what has expired, are read again.",
    )

    @field_validator("events_retention_days")
    @classmethod
    def _retention_is_long_enough(cls, value: int) -> int:
        if 0 < value < LEAST_RETENTION_DAYS:
            raise ValueError(
                f"must be 0 or at least {LEAST_RETENTION_DAYS}: workers must know the ids of events for the dedupe window"
            )
        return value

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


class ProbeSettings(LogSettings):
    """The probe, which sends an event now and then and waits until a query shows it."""

    probe_url: Annotated[str, AfterValidator(_http_address)] = Field(
        default="http://127.0.0.1:8000", description="HTTP(S) address that serves the calls, as producers see it."
    )
    probe_key: str = Field(
        default="",
        repr=False,
        description="Key with both scopes, of a project of the probe's own: its events are in that project's answers.",
    )
    probe_every_s: float = Field(default=15, ge=1, le=3600, description="How often an event is sent.")
    probe_timeout_s: float = Field(
        default=120, ge=1, le=3600, description="How long an event is waited for before it counts as unseen."
    )
    probe_host: str = Field(default="127.0.0.1", description="Address of health and metrics.")
    probe_port: Port = Field(default=8005, description="Port of health and metrics.")


def _strong_key(value: str) -> str:
    weakness = weakness_of(value) if value else None
    if weakness:
        raise ValueError(weakness)
    return value


def _base_address(value: str) -> str:
    """Without the slash at its end."""
    if value and not re.fullmatch(rf"https?://{_HOST}(:\d{{1,5}})?/?", value):
        raise ValueError("write http://host:port or https://host, without a path")
    return value.removesuffix("/")


class ConsoleSettings(HttpSettings, LogSettings):
    """The console."""

    console_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    console_port: Port = Field(default=8004, description="Port to listen on.")
    console_api_url: Annotated[str, AfterValidator(_base_address)] = Field(
        default="http://127.0.0.1:8000",
        min_length=1,
        description="Address of the gateway, where the console asks for all that it shows.",
    )
    console_public_url: Annotated[str, AfterValidator(_base_address)] = Field(
        default="",
        description="Address that producers send to, for the lines that the console shows; empty: that of the browser's request.",
    )
    console_secret: Annotated[str, AfterValidator(_strong_key)] = Field(
        default="",
        repr=False,
        description="What the console's cookies are sealed with, of at least 128 bits; it must be set, and be the same for all "
        "consoles of one address.",
    )
    console_session_hours: float = Field(
        default=12, gt=0, le=720, description="How long a sign-in lasts; after it the key is asked for again."
    )
    console_cookie_secure: bool = Field(
        default=True, description="Browsers send the cookie over https alone. Off only for a console without TLS."
    )
    console_timeout_s: float = Field(
        default=30, gt=0, description="How long the console waits for an answer of the API."
    )
    console_drain_timeout_s: int = Field(
        default=10, ge=1, description="On SIGTERM: how long requests under way may take."
    )


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


ALL_SETTINGS: tuple[type[Settings], ...] = (
    EdgeSettings,
    WorkerSettings,
    QuerySettings,
    ConsoleSettings,
    ProbeSettings,
    StackSettings,
)


def unknown_settings() -> list[UnknownVariable]:
    """The variables of this process that look like settings of any part of Headrace and are none."""
    return unknown_variables(variables_of(ALL_SETTINGS), os.environ)
