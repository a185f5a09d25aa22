"""compose.yaml agrees with the services: their settings, commands, ports, time-outs; and publishes nothing abroad."""

import os
import re
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main
from pydantic_settings import BaseSettings

from services.cli.app import app
from services.runtime.settings import ClickHouseSettings, EdgeSettings, QuerySettings, WorkerSettings
from tests.unit.deploy.compose import environment_of, load_compose, seconds, substitute, variables_in
from tests.unit.deploy.env_file import DEPLOY, PREFIX, SERVICES, read_env, settings_lines

COMPOSE = load_compose()
TEXT = (DEPLOY / "compose.yaml").read_text()
OURS: dict[str, type[BaseSettings]] = {**SERVICES, "migrate": ClickHouseSettings}
SCALED = ("edge", "worker", "query")
PASSWORD = {"HEADRACE_CLICKHOUSE_PASSWORD": "a-password"}


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def health_check(name: str) -> str:
    return " ".join(service(name)["healthcheck"]["test"])


def names_of(settings: type[BaseSettings]) -> set[str]:
    return {PREFIX + name.upper() for name in settings.model_fields}


def test_the_services_are_all_there() -> None:
    assert set(COMPOSE["services"]) == {"kafka", "clickhouse", "migrate", "edge", "worker", "query", "gateway"}


@pytest.mark.parametrize("name", OURS)
def test_commands_are_commands_of_the_program(name: str) -> None:
    command = typer.main.get_command(app)
    known = getattr(command, "commands")  # noqa: B009 (a typer group's; click types the base alone)
    assert service(name)["command"] == [name]
    assert name in known


def test_every_variable_of_ours_is_a_setting_and_has_its_default() -> None:
    settings = settings_lines()
    for variable in variables_in(TEXT):
        if variable.name.startswith(PREFIX):
            assert variable.name in settings, variable.name
            assert variable.default in (None, settings[variable.name].value), variable.name


@pytest.mark.parametrize("name", OURS)
def test_services_get_settings_that_they_have(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of(service(name), PASSWORD)
    assert set(environment) <= names_of(OURS[name])
    for variable in [v for v in os.environ if v.upper().startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    OURS[name]()


def test_what_env_full_says_of_addresses_does_not_matter() -> None:
    """env.full may be copied to deploy/.env as it is: addresses and ports inside are not taken from there."""
    full = {line.name: line.value for line in read_env((DEPLOY / "env.full").read_text())} | PASSWORD
    for name in OURS:
        bare, filled = environment_of(service(name), PASSWORD), environment_of(service(name), full)
        assert bare == filled, name
    for name in SCALED:
        environment = environment_of(service(name), full)
        assert environment[f"HEADRACE_{name.upper()}_HOST"] == "0.0.0.0"  # noqa: S104
        assert environment["HEADRACE_CLICKHOUSE_URL"] == "http://clickhouse:8123"


def test_the_password_must_be_set_and_is_the_same_everywhere() -> None:
    for values in ({}, {"HEADRACE_CLICKHOUSE_PASSWORD": ""}):
        with pytest.raises(KeyError, match="HEADRACE_CLICKHOUSE_PASSWORD"):
            environment_of(service("clickhouse"), values)
    assert environment_of(service("clickhouse"), PASSWORD)["CLICKHOUSE_PASSWORD"] == "a-password"
    for name in OURS:
        assert environment_of(service(name), PASSWORD)["HEADRACE_CLICKHOUSE_PASSWORD"] == "a-password"


def test_only_the_gateway_is_published_and_only_to_this_machine() -> None:
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if one.get("ports")}
    assert set(published) == {"gateway"}
    for port in published["gateway"]:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:8080", substitute(port, {})), port
    assert not [name for name, one in COMPOSE["services"].items() if one.get("network_mode")]


@pytest.mark.parametrize("name", SCALED)
def test_scaled_services_have_nothing_that_exists_only_once(name: str) -> None:
    assert not {"container_name", "ports", "hostname", "volumes"} & set(service(name))


@pytest.mark.parametrize("name", SCALED)
def test_health_checks_ask_for_readiness_at_the_service_s_port(name: str) -> None:
    port = environment_of(service(name), PASSWORD)[f"HEADRACE_{name.upper()}_PORT"]
    assert f"http://127.0.0.1:{port}/health/ready" in health_check(name)


def test_dependencies_wait_for_what_can_be_waited_for() -> None:
    for name, one in COMPOSE["services"].items():
        for other, needed in one.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in service(other), (name, other)
            else:
                assert needed["condition"] == "service_completed_successfully", (name, other)
                assert service(other)["restart"] == "no", (name, other)


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name != "migrate"])
def test_services_come_back_and_have_limits(name: str) -> None:
    one = service(name)
    assert one["restart"] == "unless-stopped"
    assert one["healthcheck"]["start_period"]
    assert one["deploy"]["resources"]["limits"]["memory"]
    assert one["logging"]["options"]["max-size"]


def test_nobody_is_stopped_before_the_time_to_drain_is_over() -> None:
    edge, worker, query = EdgeSettings.model_fields, WorkerSettings.model_fields, QuerySettings.model_fields
    edge_s = edge["edge_drain_timeout_s"].default + edge["edge_publish_timeout_s"].default
    assert seconds(service("edge")["stop_grace_period"]) > edge_s
    assert seconds(service("worker")["stop_grace_period"]) > worker["worker_drain_timeout_s"].default
    assert seconds(service("query")["stop_grace_period"]) > query["query_drain_timeout_s"].default


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights_that_they_do_not_need(name: str) -> None:
    one = service(name)
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_images_of_others_are_pinned() -> None:
    for name in ("kafka", "clickhouse", "gateway"):
        image = substitute(service(name)["image"], {})
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+[a-z0-9.-]*", image), image


def test_kafka_is_the_version_that_development_runs() -> None:
    pom = ElementTree.parse(DEPLOY / "kafka" / "pom.xml")  # noqa: S314 (our own file)
    version = pom.findtext(".//{*}kafka.version")
    assert substitute(service("kafka")["image"], {}) == f"apache/kafka:{version}"


def test_volumes_and_networks_are_declared() -> None:
    for name, one in COMPOSE["services"].items():
        assert set(one["networks"]) <= set(COMPOSE["networks"]), name
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            declared = (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
            assert declared, volume


def test_strangers_reach_no_store_through_the_gateway() -> None:
    reached = set(service("gateway")["networks"])
    assert {name for name in COMPOSE["services"] if reached & set(service(name)["networks"])} == {
        "gateway",
        "edge",
        "query",
    }


@pytest.mark.parametrize("path", sorted((DEPLOY / "clickhouse").glob("*.xml")), ids=lambda path: path.name)
def test_the_store_s_configuration_can_be_read(path: Any) -> None:
    assert ElementTree.parse(path).getroot().tag == "clickhouse"  # noqa: S314 (our own file)


def test_the_image_has_the_production_requirements_and_no_others() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^COPY (?!--from)(\S+)", dockerfile, re.MULTILINE) == ["requirements/production.txt", "services"]
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER (?!0|root)\d+:\d+$", dockerfile, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in dockerfile
