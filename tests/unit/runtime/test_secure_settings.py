"""Settings of secure connections: whole or refused, each line with its variable, and no secret shown."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from services.runtime.environment import SettingsError, read_settings
from services.runtime.kafka import client_options
from services.runtime.settings import ClickHouseSettings, EdgeSettings, KafkaSettings, WorkerSettings
from services.worker.consumer.faust_app import faust_credentials
from tests.support.certificates import Authority

SASL = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
USER = {"SASL_USERNAME": "edge", "SASL_PASSWORD": "sesame"}
OAUTH = {**SASL, "SASL_MECHANISM": "OAUTHBEARER"}
CLIENT = {"OAUTH_TOKEN_URL": "https://idp/token", "OAUTH_CLIENT_ID": "edge", "OAUTH_CLIENT_SECRET": "sesame"}


def refused(monkeypatch: pytest.MonkeyPatch, part: str, values: Mapping[str, str], kind: type) -> str:
    for name, value in values.items():
        monkeypatch.setenv(f"HEADRACE_{part}_{name}", value)
    with pytest.raises(SettingsError) as error:
        read_settings(kind)
    assert "sesame" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"MIN_INSYNC_REPLICAS": "2"}, ["MIN_INSYNC_REPLICAS"]),
        ({"REPLICATION": "2", "MIN_INSYNC_REPLICAS": "3"}, ["MIN_INSYNC_REPLICAS"]),
        (SASL, ["SASL_USERNAME", "SASL_PASSWORD"]),
        ({**SASL, "SASL_USERNAME": "edge"}, ["SASL_PASSWORD"]),
        (USER, ["SECURITY_PROTOCOL"]),
        ({**USER, "SECURITY_PROTOCOL": "SSL"}, ["SECURITY_PROTOCOL"]),
        (OAUTH, ["SASL_MECHANISM"]),
        ({**OAUTH, **CLIENT, "OAUTH_HOOK": "os:getpid"}, ["SASL_MECHANISM"]),
        ({**OAUTH, "OAUTH_TOKEN_URL": "https://idp/token"}, ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"]),
        ({**OAUTH, "OAUTH_HOOK": "no_such_module:f"}, ["OAUTH_HOOK"]),
        ({**OAUTH, "OAUTH_HOOK": "no module"}, ["OAUTH_HOOK"]),
        (CLIENT, ["SECURITY_PROTOCOL"]),
        ({"CA_FILE": "/none"}, ["SECURITY_PROTOCOL"]),
        ({"CA_FILE": "/none", "SECURITY_PROTOCOL": "SSL"}, ["CA_FILE"]),
        ({"KEY_FILE": "/none", "SECURITY_PROTOCOL": "SSL"}, ["CERTIFICATE_FILE"]),
        ({"SECURITY_PROTOCOL": "TLS"}, ["SECURITY_PROTOCOL"]),
        ({"OAUTH_EXTENSIONS": "no pairs"}, ["OAUTH_EXTENSIONS"]),
    ],
)
def test_half_a_log_in_is_refused(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str], lines: list[str]) -> None:
    said = refused(monkeypatch, "KAFKA", values, KafkaSettings).splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"HEADRACE_KAFKA_{name}" for name in lines]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"CA_FILE": "/none"}, ["URL"]),
        ({"URL": "https://h", "CA_FILE": "/none"}, ["CA_FILE"]),
        ({"URL": "https://h", "KEY_FILE": "/none"}, ["CERTIFICATE_FILE"]),
        ({"URL": "http://edge@h", "USER": "worker"}, ["USER"]),
        ({"URL": "http://edge:sesame@h"}, ["URL"]),
    ],
)
def test_half_a_log_in_to_clickhouse_is_refused(
    monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str], lines: list[str]
) -> None:
    said = refused(monkeypatch, "CLICKHOUSE", values, ClickHouseSettings).splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"HEADRACE_CLICKHOUSE_{name}" for name in lines]


def test_the_user_of_the_address_counts() -> None:
    assert ClickHouseSettings(clickhouse_url="http://edge%40shop@h:1/click").clickhouse_login == "edge@shop"
    assert ClickHouseSettings(clickhouse_url="http://h:1", clickhouse_user="edge").clickhouse_login == "edge"


def test_secrets_may_stand_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for part, name in (("KAFKA", "SASL_PASSWORD"), ("KAFKA", "OAUTH_CLIENT_SECRET"), ("CLICKHOUSE", "PASSWORD")):
        file = tmp_path / name
        file.write_text(f"sesame of {name}\n")
        monkeypatch.setenv(f"HEADRACE_{part}_{name}_FILE", str(file))
    monkeypatch.setenv("HEADRACE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("HEADRACE_KAFKA_SASL_USERNAME", "edge")
    settings = read_settings(EdgeSettings)
    assert settings.kafka_sasl_password == "sesame of SASL_PASSWORD"
    assert settings.kafka_oauth_client_secret == "sesame of OAUTH_CLIENT_SECRET"
    assert settings.clickhouse_password == "sesame of PASSWORD"
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_faust_logs_in_as_all_clients_do(mechanism: str, tmp_path: Path) -> None:
    settings = WorkerSettings.model_validate(
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_username": "worker",
            "kafka_sasl_password": "sesame",
            "kafka_ca_file": str(Authority(tmp_path).file),
        }
    )
    options = client_options(settings)
    credentials = faust_credentials(settings)
    assert credentials is not None
    assert credentials.protocol.value == options["security_protocol"] == "SASL_SSL"
    assert vars(credentials)["mechanism"].value == options["sasl_mechanism"] == mechanism
    assert vars(credentials)["username"] == options["sasl_plain_username"] == "worker"
    assert "sesame" not in repr(credentials)


def test_certificates_that_are_being_renewed_are_waited_for(tmp_path: Path) -> None:
    """As for Kafka itself: whoever tries again until it answers must not end."""
    authority = Authority(tmp_path)
    settings = KafkaSettings(kafka_security_protocol="SSL", kafka_ca_file=str(authority.file))
    authority.file.unlink()
    with pytest.raises(KafkaError, match="HEADRACE_KAFKA_CA_FILE: the file cannot be read"):
        client_options(settings)


def test_plain_text_needs_no_credentials() -> None:
    settings = WorkerSettings()
    assert client_options(settings) == {"bootstrap_servers": ["127.0.0.1:9092"], "security_protocol": "PLAINTEXT"}
    assert faust_credentials(settings) is None


def test_the_group_has_the_prefix_of_the_topics() -> None:
    assert WorkerSettings().group == "headrace-worker"
    assert WorkerSettings(kafka_topic_prefix="shop").group == "shop-worker"
    assert WorkerSettings(kafka_topic_prefix="shop", worker_group="mine").group == "mine"
