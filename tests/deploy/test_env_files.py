"""deploy/env.full names every setting with its default and what it does; env.minimal is what one has to set."""

import os

import pytest
from pydantic_settings import BaseSettings

from tests.deploy.env_file import DEPLOY, PREFIX, SERVICES, read_env, settings_lines
from tests.support.compose import variables_in

FULL = (DEPLOY / "env.full").read_text()
MINIMAL = (DEPLOY / "env.minimal").read_text()


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_env_full_has_every_setting() -> None:
    there = {line.name for line in read_env(FULL)}
    missing = [line for name, line in settings_lines().items() if name not in there]
    add = "\n\n".join(f"# {line.comment}\n{line.name}={line.value}" for line in missing)
    assert not missing, f"add to deploy/env.full, under the service that it belongs to:\n\n{add}\n"


def test_env_full_has_nothing_else_and_nothing_twice() -> None:
    names = [line.name for line in read_env(FULL)]
    unknown = sorted(set(names) - set(settings_lines()))
    assert not unknown, f"remove from deploy/env.full, no service has these settings: {', '.join(unknown)}"
    assert len(names) == len(set(names)), "deploy/env.full has a setting twice"


def test_env_full_shows_the_defaults_and_says_what_each_setting_does() -> None:
    wanted = settings_lines()
    wrong = [wanted[line.name] for line in read_env(FULL) if line.name in wanted and line != wanted[line.name]]
    change = "\n\n".join(f"# {line.comment}\n{line.name}={line.value}" for line in wrong)
    assert not wrong, f"change in deploy/env.full to what services/runtime/settings.py says:\n\n{change}\n"


def test_every_setting_says_what_it_does() -> None:
    silent = [name for name, line in settings_lines().items() if not line.comment]
    assert not silent, f"give these a description in services/runtime/settings.py: {', '.join(silent)}"


@pytest.mark.parametrize("settings", SERVICES.values(), ids=SERVICES.keys())
def test_env_full_is_read_as_the_defaults(settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = settings()
    for line in read_env(FULL):
        monkeypatch.setenv(line.name, line.value)
    assert settings() == defaults


def test_env_minimal_is_what_compose_asks_for_and_holds_no_password() -> None:
    """A password that stands in a repository is one that everybody knows."""
    asked = {
        variable.name for variable in variables_in((DEPLOY / "compose.yaml").read_text()) if variable.default is None
    }
    assert {line.name: line.value for line in read_env(MINIMAL)} == dict.fromkeys(asked, "")


@pytest.mark.parametrize("line", ["HEADRACE_A", "export A=1", "A = 1", "A=1 ", "1A=1"])
def test_a_line_that_is_no_variable_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not NAME=value"):
        read_env(f"# a comment\n{line}\n")
