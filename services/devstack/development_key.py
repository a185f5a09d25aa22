"""The key of the development project."""

import os

from services.runtime.keys import new_key
from services.runtime.settings import StackSettings


def development_key(settings: StackSettings) -> tuple[str, bool]:
    """The key, and whether it is ours: made once and kept in the data directory, readable by its owner alone."""
    if settings.api_key:
        return settings.api_key, False
    kept = settings.data / "key"
    if not kept.exists():
        settings.data.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key())
    return kept.read_text().strip(), True
