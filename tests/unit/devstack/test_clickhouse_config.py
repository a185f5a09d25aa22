"""The development server's configuration, as ClickHouse will read it."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from services.devstack.clickhouse_config import ServerConfig, config_xml, passwords_of, users_xml
from services.runtime.memory import memory_limit_bytes
from services.schema.roles import Role, grants_of

CONFIG = ServerConfig(http_port=1, tcp_port=2, databases=("a", "b"), memory_bytes=1000)
PASSWORDS = {role: f"password of {role} <&>" for role in Role}


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 our own text


def test_it_listens_on_this_machine_alone() -> None:
    config = parsed(config_xml(CONFIG))
    assert [host.text for host in config.iter("listen_host")] == ["127.0.0.1"]
    assert (config.findtext("http_port"), config.findtext("tcp_port")) == ("1", "2")


@pytest.mark.parametrize("role", Role)
def test_a_user_has_a_hash_for_a_password_and_the_rights_of_its_role_on_each_database(role: Role) -> None:
    text = users_xml(CONFIG, PASSWORDS)
    user = parsed(text).find(f"users/{role}")
    assert user is not None
    assert user.findtext("password_sha256_hex") == hashlib.sha256(PASSWORDS[role].encode()).hexdigest()
    assert user.find("password") is None
    assert PASSWORDS[role] not in text
    assert [ip.text for ip in user.iter("ip")] == ["127.0.0.1"]
    granted = [query.text for query in user.findall("grants/query")]
    assert set(granted) == {f"GRANT {grant}" for database in "ab" for grant in grants_of(role, database)}
    assert len(granted) == len(set(granted))


def test_there_are_no_other_users_but_the_one_that_can_only_listen() -> None:
    users = parsed(users_xml(CONFIG, PASSWORDS)).find("users")
    assert users is not None
    assert {user.tag for user in users} == {"default", *Role}
    profile = parsed(users_xml(CONFIG, PASSWORDS)).find("profiles/listener")
    assert users.findtext("default/profile") == "listener"
    assert profile is not None
    assert profile.findtext("max_sessions_for_user") == "1"


@pytest.mark.parametrize(("given", "expected"), [(1000, 1000), (0, memory_limit_bytes() // 2)])
def test_questions_get_a_part_of_the_memory(given: int, expected: int) -> None:
    config = ServerConfig(1, 2, ("a",), given)
    assert int(parsed(config_xml(config)).findtext("max_server_memory_usage") or 0) == expected
    limit = parsed(users_xml(config, PASSWORDS)).findtext("profiles/query/max_memory_usage_for_user")
    assert int(limit or 0) == int(expected * 0.6)


def test_a_role_that_is_new_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    made = passwords_of(tmp_path)
    assert len(set(made.values())) == len(Role)
    kept = {role: password for role, password in made.items() if role is not Role.EDGE}
    (tmp_path / "passwords.json").write_text(json.dumps(kept))
    again = passwords_of(tmp_path)
    assert {role: again[role] for role in kept} == kept
    assert again[Role.EDGE] != made[Role.EDGE]
    assert passwords_of(tmp_path) == again
