"""Settings from variables and files, one line for each wrong one, and names that no setting has."""

from pathlib import Path

import pytest
from pydantic import Field

from services.runtime.environment import Settings, SettingsError, UnknownVariable, read_settings, unknown_variables
from services.runtime.settings import (
    ALL_SETTINGS,
    ClickHouseSettings,
    EdgeSettings,
    KafkaSettings,
    StackSettings,
    unknown_settings,
)


class Sample(Settings):
    sample_port: int = Field(default=1, ge=1, le=9)
    sample_password: str = Field(default="", pattern="^[a-z]*$")
    token: str = Field(default="", pattern="^[a-z]*$", validation_alias="A_TOKEN")


def lines_of(error: pytest.ExceptionInfo[SettingsError]) -> list[str]:
    return str(error.value).splitlines()


def test_each_wrong_variable_has_a_line_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADRACE_SAMPLE_PORT", "HEADRACE_SAMPLE_PASSWORD", "A_TOKEN"):
        monkeypatch.setenv(name, "Sesame 77")
    with pytest.raises(SettingsError) as error:
        read_settings(Sample)
    assert [line.partition(": ")[0] for line in lines_of(error)] == [
        "HEADRACE_SAMPLE_PORT",
        "HEADRACE_SAMPLE_PASSWORD",
        "A_TOKEN",
    ]
    assert "Sesame" not in str(error.value)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_file_is_read_without_its_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    (tmp_path / "secret").write_bytes(b" with blanks " + end.encode())
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_PASSWORD_FILE", str(tmp_path / "secret"))
    assert read_settings(ClickHouseSettings).clickhouse_password == " with blanks "


def test_any_setting_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("9001\n")
    (tmp_path / "key").write_text("hr_3f9a0c1e77b2d4a5b6c7d8e9f0\n")
    monkeypatch.setenv("headrace_edge_port_file", str(tmp_path / "port"))
    monkeypatch.setenv("INFRAI_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.delenv("INFRAI_API_KEY", raising=False)
    assert read_settings(EdgeSettings).edge_port == 9001
    assert read_settings(StackSettings).api_key == "hr_3f9a0c1e77b2d4a5b6c7d8e9f0"


def test_a_value_in_a_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("none")
    monkeypatch.setenv("HEADRACE_SAMPLE_PORT_FILE", str(tmp_path / "port"))
    with pytest.raises(SettingsError, match=r"^HEADRACE_SAMPLE_PORT: Input should be a valid integer"):
        read_settings(Sample)


def test_a_variable_and_its_file_are_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("fromfile")
    monkeypatch.setenv("HEADRACE_SAMPLE_PASSWORD", "fromvariable")
    monkeypatch.setenv("HEADRACE_SAMPLE_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError) as error:
        read_settings(Sample)
    assert lines_of(error) == ["HEADRACE_SAMPLE_PASSWORD and HEADRACE_SAMPLE_PASSWORD_FILE are both set: keep one"]


def test_an_empty_variable_beside_a_file_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass `NAME=${NAME:-}` on."""
    (tmp_path / "secret").write_text("fromfile")
    monkeypatch.setenv("HEADRACE_SAMPLE_PASSWORD", "")
    monkeypatch.setenv("HEADRACE_SAMPLE_PASSWORD_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("HEADRACE_SAMPLE_PORT", "2")
    monkeypatch.setenv("HEADRACE_SAMPLE_PORT_FILE", "")
    settings = read_settings(Sample)
    assert (settings.sample_password, settings.sample_port) == ("fromfile", 2)


def test_files_that_cannot_be_read_are_named_by_their_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    monkeypatch.setenv("HEADRACE_SAMPLE_PORT_FILE", "a-secret-in-the-wrong-place")
    monkeypatch.setenv("HEADRACE_SAMPLE_PASSWORD_FILE", str(tmp_path))
    monkeypatch.setenv("A_TOKEN_FILE", str(tmp_path / "latin"))
    with pytest.raises(SettingsError) as error:
        read_settings(Sample)
    assert lines_of(error) == [
        "HEADRACE_SAMPLE_PORT_FILE: the file that it names cannot be read: No such file or directory",
        "HEADRACE_SAMPLE_PASSWORD_FILE: the file that it names cannot be read: Is a directory",
        "A_TOKEN_FILE: the file that it names is not text in UTF-8",
    ]


KNOWN = {"HEADRACE_EDGE_PORT", "HEADRACE_CLICKHOUSE_PASSWORD", "HEADRACE_DATA", "INFRAI_API_KEY"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HEADRACE_EDGE_PROT", "HEADRACE_EDGE_PORT"),
        ("headrace_edge_ports", "HEADRACE_EDGE_PORT"),
        ("HEADRACE_CLICKHOUSE_PASWORD_FILE", "HEADRACE_CLICKHOUSE_PASSWORD_FILE"),
        ("HEADRACE_", None),
        ("HEADRACE_ZZZZ", None),
        ("HEADRACE_EDGE_PORT_NUMBER", "HEADRACE_EDGE_PORT"),
        ("HEADRACE_DATA_FOLDER", "HEADRACE_DATA"),
    ],
)
def test_an_unknown_name_and_the_nearest_setting(name: str, nearest: str | None) -> None:
    assert unknown_variables(KNOWN, {name: "a value", "PATH": "x"}) == [UnknownVariable(name, nearest)]


@pytest.mark.parametrize(
    "name",
    [
        "HEADRACE_EDGE_PORT",
        "headrace_edge_port",
        "HEADRACE_EDGE_PORT_FILE",
        "HEADRACE_TEST_KAFKA",
        "HEADRACE_BENCH_PYTHON",
        "HEADRACETRACK",
    ],
)
def test_names_that_are_known_or_not_ours(name: str) -> None:
    assert unknown_variables(KNOWN, {name: "a value"}) == []


def test_every_setting_of_every_part_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ALL_SETTINGS:
        for name in kind.model_fields:
            monkeypatch.setenv(f"HEADRACE_{name.upper()}", "x")
    assert {variable.name for variable in unknown_settings()} == {"HEADRACE_API_KEY"}


@pytest.mark.parametrize(
    "url", ["http://h", "https://h:8443", "http://[::1]:8123/", "http://click.house:8123", "https://u@h:1/a/b"]
)
def test_addresses_of_clickhouse(url: str) -> None:
    assert ClickHouseSettings(clickhouse_url=url).clickhouse_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8123",
        "tcp://h:9000",
        "http://h:",
        "http://h:99999",
        "http://u:p@h:1",
        "http://h:1/?database=db",
        "http://h?x",
    ],
)
def test_addresses_that_are_none_of_clickhouse(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", url)
    with pytest.raises(
        SettingsError, match=r"^HEADRACE_CLICKHOUSE_URL: write http://host:port or https://user@host:port/path"
    ):
        read_settings(ClickHouseSettings)


@pytest.mark.parametrize(
    ("brokers", "right"),
    [
        ("a:9092", True),
        ("a", True),
        ("a:1,b.c:2,[::1]:3", True),
        ("", False),
        ("a:x", False),
        ("a:1,", False),
        ("a:1, b:2", False),
        ("PLAINTEXT://a:1", False),
    ],
)
def test_addresses_of_brokers(monkeypatch: pytest.MonkeyPatch, brokers: str, right: bool) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", brokers)
    if right:
        assert read_settings(KafkaSettings).kafka_bootstrap == brokers
    else:
        with pytest.raises(SettingsError, match=r"^HEADRACE_KAFKA_BOOTSTRAP: "):
            read_settings(KafkaSettings)
