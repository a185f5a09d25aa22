"""compose.yaml agrees with the services: their settings, commands, ports, time-outs; and publishes nothing abroad."""

import os
import re
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main
import yaml
from pydantic_settings import BaseSettings

from services.cli.app import app
from services.runtime.settings import ClickHouseSettings, ConsoleSettings, EdgeSettings, QuerySettings, WorkerSettings
from services.schema.roles import Role, grants_of
from tests.deploy.env_file import DEPLOY, PREFIX, ROOT, SERVICES, read_env, settings_lines
from tests.support.compose import environment_of, load_compose, seconds, substitute, variables_in

COMPOSE = load_compose()
TEXT = (DEPLOY / "compose.yaml").read_text()
USERS = ElementTree.parse(DEPLOY / "clickhouse" / "users.xml").getroot()  # noqa: S314 (our own file)
# Of one query service, unless it is set otherwise.
QUERY_MEMORY_BYTES = 2 * QuerySettings.model_fields["query_max_memory_bytes"].default
OURS: dict[str, type[BaseSettings]] = {**SERVICES, "migrate": ClickHouseSettings, "admin": EdgeSettings}
SCALED = ("edge", "worker", "query")
# Of the profile `observe`, which nobody has to start.
OBSERVE = ("probe", "prometheus", "grafana")
# Who logs in to ClickHouse, and as whom.
ROLES = {"migrate": Role.ADMIN, "admin": Role.ADMIN, **{name: Role(name) for name in SCALED}}
PASSWORDS = {f"{role.upper()}_CLICKHOUSE_PASSWORD": f"password-of-{role}" for role in Role}
SECRETS = PASSWORDS | {"CONSOLE_SECRET": "5be8a7c91d304f62b7e0d1a4c9f35286"}


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def health_check(name: str) -> str:
    return " ".join(service(name)["healthcheck"]["test"])


def names_of(settings: type[BaseSettings]) -> set[str]:
    return {PREFIX + name.upper() for name in settings.model_fields}


def test_the_services_are_all_there() -> None:
    always = {"kafka", "clickhouse", "migrate", "admin", "edge", "worker", "query", "console", "gateway"}
    assert set(COMPOSE["services"]) == always | set(OBSERVE)
    assert {name for name, one in COMPOSE["services"].items() if one.get("profiles") == ["observe"]} == set(OBSERVE)


def test_the_probe_knows_no_password_and_prometheus_looks_where_the_services_are() -> None:
    assert service("probe")["env_file"] == []
    assert not [name for name in environment_of(service("probe"), PASSWORDS) if "PASSWORD" in name]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    looked_at = {name: each["port"] for each in scraped["dns_sd_configs"] for name in each["names"]}
    assert looked_at == {
        name: int(environment_of(service(name), {**PASSWORDS, "CONSOLE_SECRET": "s"})[f"HEADRACE_{name.upper()}_PORT"])
        for name in (*SCALED, "console", "probe")
    }
    assert set(looked_at) <= reached_from("prometheus")


def test_the_board_reaches_no_service_but_prometheus_and_the_probe() -> None:
    assert reached_from("grafana") == set(OBSERVE)
    for volume in (*service("grafana")["volumes"], *service("prometheus")["volumes"]):
        if volume.startswith("./"):
            assert (DEPLOY / volume.split(":")[0]).exists(), volume


@pytest.mark.parametrize("name", [name for name in OURS if name != "admin"])
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
    environment = environment_of(service(name), SECRETS)
    assert set(environment) <= names_of(OURS[name]) | set(SECRETS)
    for variable in [v for v in os.environ if v.upper().startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    OURS[name]()


def test_what_env_full_says_of_addresses_does_not_matter() -> None:
    """env.full may be copied to deploy/.env as it is: addresses and ports inside are not taken from there."""
    full = {line.name: line.value for line in read_env((DEPLOY / "env.full").read_text())} | SECRETS
    for name in OURS:
        bare, filled = environment_of(service(name), SECRETS), environment_of(service(name), full)
        assert bare == filled, name
    assert environment_of(service("probe"), full)["HEADRACE_PROBE_URL"] == "http://gateway:8080"
    for name in SCALED:
        environment = environment_of(service(name), full)
        assert environment[f"HEADRACE_{name.upper()}_HOST"] == "0.0.0.0"  # noqa: S104
        assert environment["HEADRACE_CLICKHOUSE_URL"] == "http://clickhouse:8123"


@pytest.mark.parametrize("name", PASSWORDS)
def test_each_password_must_be_set(name: str) -> None:
    for values in (PASSWORDS | {name: ""}, {other: value for other, value in PASSWORDS.items() if other != name}):
        with pytest.raises(KeyError, match=name):
            environment_of(service("clickhouse"), values)
    assert environment_of(service("clickhouse"), PASSWORDS)[name] == PASSWORDS[name]


@pytest.mark.parametrize("name", ROLES)
def test_a_service_logs_in_as_its_own_user_and_knows_no_other_s_password(name: str) -> None:
    """deploy/.env comes whole into each of our containers: what stands in `environment` goes before it."""
    role = ROLES[name]
    environment = environment_of(service(name), SECRETS)
    assert environment["HEADRACE_CLICKHOUSE_USER"] == role
    assert environment["HEADRACE_CLICKHOUSE_PASSWORD"] == f"password-of-{role}"
    assert {variable: environment[variable] for variable in SECRETS} == dict.fromkeys(SECRETS, "")
    others = [value for value in SECRETS.values() if value != f"password-of-{role}"]
    assert not [variable for variable, value in environment.items() if any(other in value for other in others)]


def test_the_console_knows_its_secret_and_no_store() -> None:
    environment = environment_of(service("console"), SECRETS)
    assert {variable: environment[variable] for variable in SECRETS} == dict.fromkeys(SECRETS, "")
    assert environment["HEADRACE_CONSOLE_SECRET"] == SECRETS["CONSOLE_SECRET"]
    assert not [variable for variable in environment if variable.startswith(("HEADRACE_CLICKHOUSE", "HEADRACE_KAFKA"))]
    assert service("console")["networks"] == ["front", "watched"]
    beside = {name for name in COMPOSE["services"] if "watched" in service(name)["networks"]}
    assert beside == {"console", "prometheus"}
    with pytest.raises(KeyError, match="CONSOLE_SECRET"):
        environment_of(service("console"), PASSWORDS)


def test_nobody_but_clickhouse_and_ours_is_told_a_password() -> None:
    for name in set(COMPOSE["services"]) - set(OURS) - {"clickhouse"}:
        assert "PASSWORD" not in str(service(name))


@pytest.mark.parametrize("role", Role)
def test_the_users_of_clickhouse_have_the_rights_of_their_roles(role: Role) -> None:
    database = environment_of(service("edge"), PASSWORDS)["HEADRACE_CLICKHOUSE_DATABASE"]
    user = USERS.find(f"users/{role}")
    assert user is not None
    assert [grant.text for grant in user.findall("grants/query")] == [
        f"GRANT {grant}" for grant in grants_of(role, database)
    ], "write the grants of services/schema/roles.py into deploy/clickhouse/users.xml"
    assert [(each.tag, each.attrib) for each in user if "password" in each.tag] == [
        ("password", {"from_env": f"{role.upper()}_CLICKHOUSE_PASSWORD"})
    ]


def test_clickhouse_has_no_other_users() -> None:
    users = USERS.find("users")
    assert users is not None
    assert {user.tag for user in users if user.attrib != {"remove": "remove"}} == set(Role)
    assert [user.tag for user in users if user.attrib == {"remove": "remove"}] == ["default"]
    environment = environment_of(service("clickhouse"), PASSWORDS)
    assert environment["CLICKHOUSE_SKIP_USER_SETUP"] == "1"
    assert not {"CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT"} & set(environment)


def test_every_variable_that_the_users_read_is_given() -> None:
    read = {each.attrib["from_env"] for each in USERS.iter() if "from_env" in each.attrib}
    assert read <= set(environment_of(service("clickhouse"), PASSWORDS))
    assert int(environment_of(service("clickhouse"), PASSWORDS)["QUERY_CLICKHOUSE_MEMORY_BYTES"]) >= QUERY_MEMORY_BYTES


def test_only_gateway_and_board_are_published_and_only_to_this_machine() -> None:
    published = {name: one["ports"] for name, one in COMPOSE["services"].items() if one.get("ports")}
    assert set(published) == {"gateway", "grafana"}
    for port in [*published["gateway"], *published["grafana"]]:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:(8080|3000)", substitute(port, {})), port
    assert not [name for name, one in COMPOSE["services"].items() if one.get("network_mode")]


@pytest.mark.parametrize("name", SCALED)
def test_scaled_services_have_nothing_that_exists_only_once(name: str) -> None:
    assert not {"container_name", "ports", "hostname", "volumes"} & set(service(name))


@pytest.mark.parametrize("name", SCALED)
def test_health_checks_ask_for_readiness_at_the_service_s_port(name: str) -> None:
    port = environment_of(service(name), PASSWORDS)[f"HEADRACE_{name.upper()}_PORT"]
    assert f"http://127.0.0.1:{port}/health/ready" in health_check(name)


def test_dependencies_wait_for_what_can_be_waited_for() -> None:
    for name, one in COMPOSE["services"].items():
        for other, needed in one.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in service(other), (name, other)
            else:
                assert needed["condition"] == "service_completed_successfully", (name, other)
                assert service(other)["restart"] == "no", (name, other)


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name not in ("migrate", "admin")])
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
    console = ConsoleSettings.model_fields["console_drain_timeout_s"].default
    assert seconds(service("console")["stop_grace_period"]) > console


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_containers_have_no_rights_that_they_do_not_need(name: str) -> None:
    one = service(name)
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "pid", "ipc", "devices"} & set(one)
    if name not in OURS:  # the image of ours has a user
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one["user"])


def test_kafka_may_load_the_libraries_that_it_unpacks() -> None:
    """Docker mounts a tmpfs with `noexec` otherwise, and a broker without zstd refuses our records."""
    tmp = next(mount for mount in service("kafka")["tmpfs"] if mount.startswith("/tmp:"))  # noqa: S108
    assert "exec" in tmp.split(":")[1].split(",")


def test_images_of_others_are_pinned() -> None:
    for name in ("kafka", "clickhouse", "gateway", "prometheus", "grafana"):
        image = substitute(service(name)["image"], {})
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*", image), image


def test_kafka_is_the_version_that_development_runs() -> None:
    pom = ElementTree.parse(DEPLOY / "kafka" / "pom.xml")  # noqa: S314 (our own file)
    version = pom.findtext(".//{*}kafka.version")
    assert substitute(service("kafka")["image"], {}) == f"apache/kafka:{version}"


def test_volumes_and_networks_are_declared() -> None:
    for name, one in COMPOSE["services"].items():
        assert set(one["networks"]) <= set(COMPOSE["networks"]), name
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            declared = (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert declared, volume


def test_strangers_reach_no_store_through_the_gateway() -> None:
    reached = set(service("gateway")["networks"])
    assert {name for name in COMPOSE["services"] if reached & set(service(name)["networks"])} == {
        "gateway",
        "edge",
        "query",
        "console",
        "probe",
    }
    assert not {"kafka", "clickhouse"} & reached_from("probe")


def reached_from(name: str) -> set[str]:
    networks = set(service(name)["networks"])
    return {other for other, one in COMPOSE["services"].items() if networks & set(one["networks"])}


@pytest.mark.parametrize("path", sorted((DEPLOY / "clickhouse").glob("*.xml")), ids=lambda path: path.name)
def test_the_store_s_configuration_can_be_read(path: Any) -> None:
    assert ElementTree.parse(path).getroot().tag == "clickhouse"  # noqa: S314 (our own file)


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+(?:\[[^\]]*\])?)==(\S+)", text, re.MULTILINE))


def test_the_packages_of_traces_come_on_top_and_only_where_they_are_asked_for() -> None:
    production, traces = pinned("production"), pinned("traces")
    assert production.items() <= traces.items()
    more = traces.keys() - production.keys()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= more
    assert not [name for name in production if "opentelemetry" in name]


def test_the_image_has_the_production_requirements_and_no_others() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+)", dockerfile, re.MULTILINE)
    assert copied == ["requirements/${REQUIREMENTS}.txt", "services"]
    assert "\nARG REQUIREMENTS=production\n" in dockerfile
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER (?!0|root)\d+:\d+$", dockerfile, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in dockerfile
