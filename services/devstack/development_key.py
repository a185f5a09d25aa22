"""The key of the development project, and the secret of its console."""

from services.devstack.data_lock import make_private, write_private
from services.runtime.keys import new_key
from services.runtime.settings import StackSettings


def development_key(settings: StackSettings) -> tuple[str, bool]:
    """The key, and whether it is ours: made once and kept in the data directory, readable by its owner alone."""
    if settings.api_key:
        return settings.api_key, False
    return _kept(settings, "key"), True


def console_secret(settings: StackSettings) -> str:
    """Kept too: a restart ends no session."""
    return _kept(settings, "console-secret")


def _kept(settings: StackSettings, name: str) -> str:
    """A random text that is made once, in the data directory."""
    kept = settings.data / name
    if not kept.exists():
        make_private(settings.data)
        write_private(kept, new_key())
    return kept.read_text().strip()
