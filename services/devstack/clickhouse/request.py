"""A request of ClickHouse's HTTP interface, taken apart: SQL, database, settings, parameters, format, query id."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from services.devstack.clickhouse.errors import ClickHouseError

# URL parameters that are about the transport. All others are settings, and the engine refuses the unknown ones.
_TRANSPORT = {
    "buffer_size",
    "client_protocol_version",
    "close_session",
    "compress",
    "database",
    "decompress",
    "default_format",
    "password",
    "query",
    "query_id",
    "quota_key",
    "role",
    "session_check",
    "session_id",
    "session_timeout",
    "stacktrace",
    "user",
    "wait_end_of_query",
}
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Request:
    """Texts hold bytes that are no UTF-8 as surrogate escapes."""

    query: str
    database: str
    default_format: str
    query_id: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    wait_end_of_query: bool

    def flag(self, setting: str) -> bool:
        return self.settings.get(setting, "0").lower() in ("1", "true")


def read_request(method: str, query_string: bytes, headers: Mapping[str, str]) -> Request:
    """`headers` has lower-case names. Raises ClickHouseError for what this server does not do."""
    fields = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"))
    for unsupported in ("compress", "decompress"):
        if fields.get(unsupported, "0") not in ("", "0", "false"):
            raise ClickHouseError(
                48, "NOT_IMPLEMENTED", f"{unsupported}=1 is not supported here; use HTTP Content-Encoding instead."
            )
    settings = {_setting(k): v for k, v in fields.items() if k not in _TRANSPORT and not k.startswith("param_")}
    if method != "POST":
        settings.setdefault("readonly", "2")
    return Request(
        query=fields.get("query", ""),
        database=fields.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=fields.get("default_format") or headers.get("x-clickhouse-format", ""),
        query_id=_CONTROL.sub("_", fields.get("query_id", "")) or str(uuid.uuid4()),
        settings=settings,
        parameters={k: v for k, v in fields.items() if k.startswith("param_") and _setting(k)},
        wait_end_of_query=fields.get("wait_end_of_query", "0") not in ("", "0", "false"),
    )


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ClickHouseError(115, "UNKNOWN_SETTING", f"Setting {name!r} is not the name of a setting.")
    return name


def add_form(request: Request, body: bytes, content_type: str) -> tuple[Request, bytes]:
    """The fields of a multipart/form-data body, in which clients send what is too long for a URL: query, parameters."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise ClickHouseError(36, "BAD_ARGUMENTS", "multipart/form-data without a boundary.")
    query = b""
    parameters = dict(request.parameters)
    for part in (b"\r\n" + body).split(b"\r\n--" + found.group(1).encode("latin-1"))[1:]:
        head, gap, content = part.partition(b"\r\n\r\n")
        named = re.search(rb'name="([^"]*)"', head)
        if not gap or named is None:
            continue
        name = named.group(1).decode(errors="replace")
        if b"filename=" in head:
            raise ClickHouseError(48, "NOT_IMPLEMENTED", "External data is not supported here.")
        if name == "query":
            query = content
        elif name.startswith("param_"):
            parameters[_setting(name)] = content.decode(errors="surrogateescape")
    return replace(request, parameters=parameters), query
