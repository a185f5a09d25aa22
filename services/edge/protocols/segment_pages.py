"""What the SDKs of Segment and RudderStack for browsers and phones ask for before they send anything."""

from typing import Any
from urllib.parse import urlsplit

from services.contract.api.errors import ApiError, ErrorCode
from services.edge.protocols.family import Incoming

_OFF = {"enabled": False}


def rudder_config(key: str) -> dict[str, Any]:
    """Nothing is passed on, nothing is measured. The SDKs for phones take no answer in which one of these is missing."""
    source = {
        "id": "headrace",
        "name": "headrace",
        "writeKey": key,
        "workspaceId": "headrace",
        "enabled": True,
        "updatedAt": "2026-01-01T00:00:00.000Z",
        "config": {"statsCollection": {"errors": _OFF, "metrics": _OFF}},
        "destinations": [],
    }
    return {"source": source}


_LOCAL = ("localhost", "127.0.0.1", "::1")


def segment_settings(incoming: Incoming) -> dict[str, Any]:
    """Everything goes to this address, with the key that was asked for, and nothing is measured. Raises ApiError."""
    try:
        base = urlsplit(incoming.base_url)
    except ValueError as error:
        raise ApiError(ErrorCode.INVALID_REQUEST, f"The header `Host` is no address: {error}.") from error
    # A page over TLS can send to nothing else, but to its own machine. Proxies in between may not say what they end.
    is_secure = incoming.headers.get("origin", "").startswith("https://") and base.hostname not in _LOCAL
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": incoming.path.split("/")[3],
                "apiHost": f"{base.netloc}/v1",
                "protocol": "https" if is_secure else base.scheme,
                "unbundledIntegrations": [],
                "addBundledMetadata": False,
            }
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "metrics": {"sampleRate": 0},
        "remotePlugins": [],
    }
