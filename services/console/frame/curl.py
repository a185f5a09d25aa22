"""Whatever a page shows can be had by curl: the line for it. The key stays in the shell."""

import shlex
from typing import Any

import msgspec

from services.console.frame.api import Params, address_of

KEY_VARIABLE = "INFRAI_API_KEY"


def curl_line(
    base_url: str, method: str, path: str, body: Any = msgspec.UNSET, params: Params | None = None, accept: str = ""
) -> str:
    """To paste into a shell. `path` is below `/v1/analytics`."""
    lines = [
        f"curl{'' if method == 'GET' else f' -X {method}'} {shlex.quote(base_url + address_of(path, params))}",
        f'-H "Authorization: Bearer ${KEY_VARIABLE}"',
    ]
    if accept:
        lines.append(f"-H {shlex.quote(f'Accept: {accept}')}")
    if body is not msgspec.UNSET:
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(msgspec.json.encode(body).decode())}"]
    return " \\\n  ".join(lines)
