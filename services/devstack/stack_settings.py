"""What `make run` takes from the environment, and the key of the development project."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.devstack.data_lock import make_private, write_private
from services.runtime.keys import new_key


class StackSettings(BaseSettings):
    """The development stack as a whole; the services it starts have their own settings."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", extra="ignore", frozen=True)

    port: int = Field(default=8000, ge=1, le=65535, description="The one address, on 127.0.0.1, that serves all calls.")
    data: Path = Field(default=Path(".data"), description="Folder of what is kept between runs.")
    broker: str = Field(
        default="embedded",
        pattern=r"^(embedded|apache|[^\s,:]+:\d+(,[^\s,:]+:\d+)*)$",
        description="embedded, apache (by Maven), or the host:port[,host:port] of a running one.",
    )
    log_console: bool = Field(default=False, description="Show here, too, what the processes log.")
    drain_timeout_s: float = Field(
        default=60, gt=0, description="On a stop: how long storing what was accepted may take."
    )
    api_key: str = Field(
        default="",
        pattern=r"^[!-~]*$",
        validation_alias="INFRAI_API_KEY",
        repr=False,
        description="Key of the development project, with both scopes; empty: one is made and kept in the data folder.",
    )


def read_settings() -> StackSettings:
    """Raises ValueError with one line a wrong variable."""
    try:
        return StackSettings()
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        lines = (f"{_variable(str(e['loc'][0]))}: {e['msg']}" for e in wrong)
        raise ValueError("\n".join(lines)) from None


def _variable(field: str) -> str:
    return field if field.isupper() else f"HEADRACE_{field.upper()}"


def development_key(settings: StackSettings) -> tuple[str, bool]:
    """The key, and whether it is ours: made once and kept in the data directory, readable by its owner alone."""
    if settings.api_key:
        return settings.api_key, False
    kept = settings.data / "key"
    if not kept.exists():
        make_private(settings.data)
        write_private(kept, new_key())
    return kept.read_text().strip(), True
