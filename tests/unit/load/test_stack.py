"""What containers are made of, as far as it can be seen without an engine."""

import pytest

from tests.load import engine
from tests.load.queries import KINDS, query, saved_queries
from tests.load.stack import options_of_service
from tests.support.compose import load_compose

_SERVICES = load_compose()["services"]


def test_where_no_engine_answers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert "apt-get install docker.io" in engine.missing_engine()


def test_files_of_the_repository_are_mounted_read_only() -> None:
    mounts = options_of_service(_SERVICES["clickhouse"], {})["mounts"]
    bound = {mount["Target"]: mount for mount in mounts if mount["Type"] == "bind"}
    assert all(mount["ReadOnly"] for mount in bound.values())
    assert "/etc/clickhouse-server/users.d/headrace.xml" in bound
    assert {mount["Target"] for mount in mounts if mount["Type"] == "volume"} >= {"/var/lib/clickhouse"}


@pytest.mark.parametrize("service", ["edge", "worker", "query"])
def test_services_are_as_hardened_and_limited_as_in_compose(service: str) -> None:
    options = options_of_service(_SERVICES[service], {})
    assert options["read_only"]
    assert options["cap_drop"] == ["ALL"]
    assert options["mem_limit"] in ("1g", "2g")


def test_readers_ask_every_kind() -> None:
    assert set(KINDS) >= {"events", "trends", "funnel", "retention", "path"}
    assert all({"since", "until"} <= query(kind).keys() for kind in KINDS)
    assert {saved["type"] for saved in saved_queries()} == set(KINDS) - {"events"}
