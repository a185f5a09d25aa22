"""How a service begins: its settings are read, its logs go out, and what looks like a mistake is said."""

from typing import TypeVar

from services.runtime.environment import read_settings
from services.runtime.logs import configure_logs, get_logger
from services.runtime.settings import LogSettings, unknown_settings

log = get_logger(__name__)

L = TypeVar("L", bound=LogSettings)


def start_service(kind: type[L], service: str) -> L:
    """The service's settings. Raises SettingsError."""
    settings = read_settings(kind)
    configure_logs(settings, service)
    for variable in unknown_settings():
        log.warning("unknown_setting", variable=variable.name, nearest=variable.nearest)
    return settings
