"""The nginx that is installed, if any."""

import shutil

# System programs are not on everybody's path.
_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"


def nginx() -> str | None:
    """Its path."""
    return shutil.which("nginx", path=_FOLDERS)
