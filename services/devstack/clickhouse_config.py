"""The files that the development database is run from: config.xml, users.xml, and the passwords of its users.

Each data folder has its own passwords, in a file for its owner alone. users.xml holds their hashes.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from msgspec import Struct

from services.devstack.data_lock import make_private, write_private
from services.runtime.memory import memory_limit_bytes
from services.schema.roles import Role, grants_of

_PASSWORDS = "passwords.json"
# Of the memory that this process may use. The rest is for the developer, the broker and the services.
_MEMORY_RATIO = 0.5
# Of ClickHouse's memory, for all queries together: they fail before inserts do.
_QUESTIONS_RATIO = 0.6


class Place(Struct, frozen=True):
    """A server's place in a cluster. `shards`: the TCP ports of all servers on 127.0.0.1, by shard. `secret`: what they know
    each other by; users keep their names and rights. `keeper_port`: of ClickHouse Keeper or ZooKeeper; 0: none."""

    cluster: str
    shards: Sequence[Sequence[int]]
    shard: int
    replica: int
    secret: str
    keeper_port: int = 0


class ServerConfig(Struct, frozen=True):
    """Ports of 127.0.0.1, the databases that the services may use, and the memory of all queries together."""

    http_port: int
    tcp_port: int
    databases: Sequence[str]
    memory_bytes: int = 0
    place: Place | None = None

    @property
    def total_memory_bytes(self) -> int:
        return self.memory_bytes or int(memory_limit_bytes() * _MEMORY_RATIO)


def passwords_of(data_dir: Path) -> dict[Role, str]:
    """Each is made when it is first asked for; then it is always the same."""
    make_private(data_dir)
    file = data_dir / _PASSWORDS
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    passwords = {role: kept.get(role) or secrets.token_hex(24) for role in Role}
    if passwords != kept:
        write_private(file, json.dumps(passwords))
    return passwords


def write_config(data_dir: Path, config: ServerConfig, passwords: Mapping[Role, str]) -> None:
    """Into `config` of the directory, where the server reads it once, at its start."""
    folder = data_dir / "config"
    folder.mkdir(exist_ok=True, mode=0o700)
    write_private(folder / "config.xml", config_xml(config))
    write_private(folder / "users.xml", users_xml(config, passwords))


def config_xml(config: ServerConfig) -> str:
    """What of a server's configuration differs from ClickHouse's defaults. users.xml is beside it."""
    return f"""<clickhouse>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{config.http_port}</http_port>
    <tcp_port>{config.tcp_port}</tcp_port>
    <users_config>users.xml</users_config>{_place_xml(config.place) if config.place else ""}
    <max_server_memory_usage>{config.total_memory_bytes}</max_server_memory_usage>

    <!-- As in deploy/clickhouse/server.xml: where cores are short, what waits to be stored goes before merges. -->
    <os_threads_nice_value_merge_mutate>5</os_threads_nice_value_merge_mutate>

    <!-- The local mode's 2 are so few that tables wait for each other, with a warning each time. -->
    <background_schedule_pool_size>16</background_schedule_pool_size>
    <background_streaming_schedule_pool_size>16</background_streaming_schedule_pool_size>

    <!-- A server's default. With the local mode's 2, a mutation takes 4 parts, waits half a second, and takes the next 4:
         a deletion in a table of 320 parts took 46 s instead of 4, and twice the CPU. -->
    <background_pool_size>16</background_pool_size>

    <!-- A server's default; the local mode has none. -->
    <query_condition_cache_size>104857600</query_condition_cache_size>

    <!-- To standard error. Of statements that failed, whoever asked is told; they may hold people's data. -->
    <log-level>warning</log-level>
    <logger>
        <console>1</console>
        <levels>
            <executeQuery>none</executeQuery>
            <DynamicQueryHandler>none</DynamicQueryHandler>
            <TCPHandler>none</TCPHandler>
        </levels>
    </logger>
</clickhouse>
"""


def _place_xml(place: Place) -> str:
    shards = "".join(
        "<shard><internal_replication>true</internal_replication>"
        + "".join(f"<replica><host>127.0.0.1</host><port>{port}</port></replica>" for port in ports)
        + "</shard>"
        for ports in place.shards
    )
    keeper = f"<zookeeper><node><host>127.0.0.1</host><port>{place.keeper_port}</port></node></zookeeper>"
    return f"""
    <remote_servers><{place.cluster}><secret>{place.secret}</secret>{shards}</{place.cluster}></remote_servers>
    <macros><shard>{place.shard:02d}</shard><replica>{place.replica:02d}</replica></macros>
    {keeper if place.keeper_port else ""}"""


def users_xml(config: ServerConfig, passwords: Mapping[Role, str]) -> str:
    """The services' users with the rights of `roles.py` on each of the databases, and `default`, which can nothing.

    ClickHouse's statement that listens runs as `default`, without a password. It may listen, and it is the one
    session that `default` may have: nobody can log in by that name.
    """
    users = "".join(_user_xml(role, passwords[role], config) for role in Role)
    return f"""<clickhouse>
    <profiles>
        <default>
            <implicit_select>0</implicit_select>
            <allow_introspection_functions>0</allow_introspection_functions>
        </default>
        <listener>
            <max_sessions_for_user>1</max_sessions_for_user>
        </listener>
        <{Role.QUERY}>
            <max_memory_usage_for_user>{int(config.total_memory_bytes * _QUESTIONS_RATIO)}</max_memory_usage_for_user>
        </{Role.QUERY}>
    </profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>listener</profile>
            <quota>default</quota>
            <grants>
                <query>GRANT SYSTEM LISTEN ON *.*</query>
                <query>GRANT SELECT ON system.numbers</query>
            </grants>
        </default>{users}
    </users>
</clickhouse>
"""


def _user_xml(role: Role, password: str, config: ServerConfig) -> str:
    cluster = config.place.cluster if config.place else ""
    grants = dict.fromkeys(grant for database in config.databases for grant in grants_of(role, database, cluster))
    lines = "".join(f"\n                <query>GRANT {escape(grant)}</query>" for grant in grants)
    profile = role if role is Role.QUERY else "default"
    return f"""
        <{role}>
            <password_sha256_hex>{hashlib.sha256(password.encode()).hexdigest()}</password_sha256_hex>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>{profile}</profile>
            <quota>default</quota>
            <grants>{lines}
            </grants>
        </{role}>"""
