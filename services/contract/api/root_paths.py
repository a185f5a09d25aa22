"""Who answers the paths at the root of the one address: what gateways and services have to agree on.

Everything else at the root belongs to the SDKs (`sdk.py`): a new path must not be one of theirs.
"""

CONSOLE_PATH = "/console"

# First part of a path -> what answers it. `/` leads to the console.
ROOT_PATHS = {
    "/": "console",
    CONSOLE_PATH: "console",
    "/docs": "edge",
    "/openapi.json": "edge",
    "/v1/analytics": "edge and query",
}


def is_console_path(path: str) -> bool:
    return path in ("/", CONSOLE_PATH) or path.startswith(f"{CONSOLE_PATH}/")
