"""The command line: its version, its help, and errors of one line where an operator can mend them."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services import __version__
from services.cli.app import app, main
from services.cli.store import store_errors
from services.devstack.child_process import free_port
from services.runtime.clickhouse import StoreUnavailableError
from services.runtime.operator_errors import OperatorError
from tests.deploy.env_file import ROOT

pytestmark = pytest.mark.usefixtures("logs_as_before")


class Ended:
    """A run of the program that ended with an error of the operator's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
        monkeypatch.setattr(sys, "argv", ["headrace", *command.split()])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        self.lines = capsys.readouterr().err.splitlines()


def test_the_version_is_that_of_the_package() -> None:
    from setuptools.config.pyprojecttoml import read_configuration

    assert CliRunner().invoke(app, ["--version"]).output == f"headrace {__version__}\n"
    package = read_configuration(ROOT / "pyproject.toml", ignore_option_errors=True)["project"]
    assert package["version"] == __version__


@pytest.mark.parametrize(
    "command",
    [
        "",
        "edge",
        "worker",
        "query",
        "console",
        "dev",
        "demo",
        "migrate",
        "check",
        "keys",
        "properties",
        "identity",
        "dead-letters",
        "probe",
        "projects",
        "usage",
    ],
)
def test_help_says_which_settings_count(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "HEADRACE_" in result.output


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("edge", {"HEADRACE_KAFKA_PARTITIONS", "HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("worker", {"HEADRACE_KAFKA_PARTITIONS", "HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("query", {"HEADRACE_KAFKA_PARTITIONS", "HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("dev", {"HEADRACE_PORT"}),
        ("demo", {"HEADRACE_PORT"}),
        ("migrate", {"HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("keys list", {"HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("properties list", {"HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("identity unmerge --project p --old a --new b", {"HEADRACE_CLICKHOUSE_TIMEOUT_S"}),
        ("dead-letters list", {"HEADRACE_KAFKA_PARTITIONS"}),
    ],
)
def test_wrong_settings_are_lines_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, variables: set[str]
) -> None:
    for variable in ("HEADRACE_KAFKA_PARTITIONS", "HEADRACE_CLICKHOUSE_TIMEOUT_S", "HEADRACE_PORT"):
        monkeypatch.setenv(variable, "-17")
    lines = Ended(monkeypatch, capsys, command).lines
    assert len(lines) == len(variables)
    assert {line.split(": ")[1] for line in lines} == variables
    assert all(line.startswith("headrace: ") and "-17" not in line for line in lines)


def test_a_tool_warns_of_a_name_that_no_setting_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_PASWORD", "sesame")
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}")
    warning, error = Ended(monkeypatch, capsys, "keys list").lines
    assert warning == (
        "headrace: warning: HEADRACE_CLICKHOUSE_PASWORD is no setting: is HEADRACE_CLICKHOUSE_PASSWORD meant?"
    )
    assert error.startswith("headrace: ClickHouse does not answer. Is HEADRACE_CLICKHOUSE_URL right? ")


@pytest.mark.parametrize(
    ("command", "variable", "address"),
    [
        ("keys list", "HEADRACE_CLICKHOUSE_URL", "http://127.0.0.1:{}"),
        ("dead-letters list", "HEADRACE_KAFKA_BOOTSTRAP", "127.0.0.1:{}"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_beside_a_development_stack_its_settings_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    variable: str,
    address: str,
    there: bool,
) -> None:
    if there:
        (tmp_path / "env").touch()
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path))
    monkeypatch.setenv(variable, address.format(free_port()))
    (line,) = Ended(monkeypatch, capsys, command).lines
    assert (f"set -a; . {tmp_path}/env; set +a." in line) == there


def test_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    (line,) = Ended(monkeypatch, capsys, "dead-letters list").lines
    assert line.startswith("headrace: Kafka does not answer. Is HEADRACE_KAFKA_BOOTSTRAP right? ")


def test_a_repair_file_with_a_line_that_is_no_letter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_text('\n{"partition": 0}\n')
    (line,) = Ended(monkeypatch, capsys, f"dead-letters replay {file}").lines
    assert line.startswith(f"headrace: {file}, line 2: ")
    assert line.endswith("Nothing was put back.")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["keys", "create", "--project", " "], "a project's name has"),
        (["keys", "create", "--project", ""], "a project's name has"),
        (["keys", "create", "--project", "a\x1b[2J"], "a project's name has"),
        (["keys", "revoke", "xyz"], "at least 8 hexadecimal digits"),
        (["keys", "create", "--project", "p", "--scope", "admin"], "'admin' is not one of"),
    ],
)
def test_arguments_that_cannot_be(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("projects set shop", "say what to set: --events-day or --retention-days"),
        ("projects set shop --events-day many", "--events-day: write `default`, `none`, or a whole number from 1 to "),
        ("projects set shop --events-day 0", "--events-day: write `default`, `none`, or a whole number from 1 to "),
        (
            "projects set shop --retention-days 7",
            "--retention-days: write `default`, `none`, or a whole number from 8 to ",
        ),
        ("usage --since 2026-03-02 --until 2026-03-02", "--since 2026-03-02 is not before --until 2026-03-02"),
        (
            "probe",
            "HEADRACE_PROBE_KEY is missing: `headrace keys create --project probe` prints a key with both scopes",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anybody_is_asked(
    command: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", "http://127.0.0.1:1")
    ended = Ended(monkeypatch, capsys, command)
    assert len(ended.lines) == 1
    assert says in ended.lines[0]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (None, "Is HEADRACE_CLICKHOUSE_URL right"),
        (202, "ClickHouse cannot do it now"),
        (210, "A server of the cluster does not answer. Start it"),
        (279, "A server of the cluster does not answer. Start it"),
    ],
)
def test_who_does_not_answer(code: int | None, says: str) -> None:
    """Where the server at the address answers, and one behind it does not, the address is right."""
    with pytest.raises(OperatorError, match=says), store_errors():
        raise StoreUnavailableError("All connection tries failed", code)
