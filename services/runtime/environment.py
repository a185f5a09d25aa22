"""Settings from environment variables: their values or files that hold them, and what is wrong with them.

A setting HEADRACE_X is read from the variable of that name, or from the file that HEADRACE_X_FILE names. No message
shows a value: it may be a secret that stands in the wrong place.
"""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from services.runtime.operator_errors import OperatorError

PREFIX = "HEADRACE_"
FILE_SUFFIX = "_FILE"
# Variables of the tests and the benchmarks, which may stand in a developer's environment.
_NOT_OURS = ("HEADRACE_TEST_", "HEADRACE_BENCH_")


class SettingsError(OperatorError):
    """The environment is wrong; the message has a line for each variable."""


class Settings(BaseSettings):
    """Base of all settings: frozen, from the environment or from files that it names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _FileSource(settings_cls), env_settings


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S]) -> S:
    """Raises SettingsError with a line for each wrong variable."""
    try:
        return kind()
    except ValidationError as error:
        variables = _variables(kind)
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        lines = (f"{variables[str(e['loc'][0])]}: {e['msg'].removeprefix('Value error, ')}" for e in wrong)
        raise SettingsError("\n".join(lines)) from None


def refuse(prefix: str, wrong: Iterable[str]) -> None:
    """For checks of several settings together: lines of `NAME: what to change`. Raises SettingsError if there is one."""
    if lines := [prefix + line for line in wrong]:
        raise SettingsError("\n".join(lines))


def variables_of(kinds: Iterable[type[BaseSettings]]) -> set[str]:
    """The names of all variables that these settings are read from, those that name files left out."""
    return {variable for kind in kinds for variable in _variables(kind).values()}


class UnknownVariable(NamedTuple):
    """A variable that no setting is read from, and the setting that was perhaps meant."""

    name: str
    nearest: str | None

    def __str__(self) -> str:
        return f"{self.name} is no setting" + (f": is {self.nearest} meant?" if self.nearest else "")


def unknown_variables(known: Iterable[str], environment: Mapping[str, str]) -> list[UnknownVariable]:
    """The variables that look like settings and are none, in order of their names."""
    readable = {variable for name in known for variable in (name, name + FILE_SUFFIX)}
    names = sorted(name for name in environment if name.upper().startswith(PREFIX))
    return [
        UnknownVariable(name, _nearest(name.upper(), readable))
        for name in names
        if name.upper() not in readable and not name.upper().startswith(_NOT_OURS)
    ]


def _nearest(name: str, readable: Iterable[str]) -> str | None:
    """By what comes behind the prefix, which all have in common. What the name begins with comes first."""
    wants_file = name.endswith(FILE_SUFFIX)
    ends = sorted(
        variable.removeprefix(PREFIX)
        for variable in readable
        if variable.startswith(PREFIX) and variable.endswith(FILE_SUFFIX) == wants_file
    )
    asked = name.removeprefix(PREFIX)
    begins = [end for end in ends if asked.startswith(f"{end}_")]
    found = [max(begins, key=len)] if begins else get_close_matches(asked, ends, n=1)
    return PREFIX + found[0] if found else None


def _variables(kind: type[BaseSettings]) -> dict[str, str]:
    """What pydantic calls a field -> its variable. An alias is the variable itself."""
    aliases = {name: field.validation_alias for name, field in kind.model_fields.items()}
    return {
        alias if isinstance(alias, str) else name: alias if isinstance(alias, str) else PREFIX + name.upper()
        for name, alias in aliases.items()
    }


class _FileSource(PydanticBaseSettingsSource):
    """The values that stand in files, without the line end behind them. Raises SettingsError."""

    def __call__(self) -> dict[str, Any]:
        environment = {name.upper(): value for name, value in os.environ.items()}
        values: dict[str, str] = {}
        wrong: list[str] = []
        for field, variable in _variables(self.settings_cls).items():
            path = environment.get(variable + FILE_SUFFIX, "")
            if not path:
                continue
            if environment.get(variable):
                wrong.append(f"{variable} and {variable}{FILE_SUFFIX} are both set: keep one")
                continue
            try:
                values[field] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                wrong.append(f"{variable}{FILE_SUFFIX}: the file that it names cannot be read: {error.strerror}")
            except ValueError:
                wrong.append(f"{variable}{FILE_SUFFIX}: the file that it names is not text in UTF-8")
        if wrong:
            raise SettingsError("\n".join(wrong))
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError("all fields are read at once")
