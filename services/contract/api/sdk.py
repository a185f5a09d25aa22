"""The addresses of the SDK surfaces, by family: what edge and gateways have to agree on. A slash at their end is allowed.

What the calls mean is in services/edge/protocols, and for people in docs/how-to/sdk-*.md.
"""

import re

FAMILIES = ("segment", "posthog", "amplitude", "mixpanel")

_SEGMENT_CALLS = ("track", "t", "identify", "i", "page", "p", "screen", "s", "group", "g", "alias", "a")
_SEGMENT_BATCHES = ("batch", "b", "import")
_JITSU_CALLS = ("track", "identify", "page", "screen", "group", "alias", "batch", "event")

# POST calls by family. PostHog and Amplitude share /batch: the body tells whose it is.
POST_PATHS: dict[str, tuple[str, ...]] = {
    "segment": (
        *(f"/v1/{name}" for name in (*_SEGMENT_CALLS, *_SEGMENT_BATCHES)),
        "/beacon/v1/batch",
        *(f"/api/s/{name}" for name in _JITSU_CALLS),
        *(f"/api/s/s2s/{name}" for name in _JITSU_CALLS),
    ),
    "posthog": (
        "/batch",
        "/capture",
        "/e",
        "/i/v0/e",
        "/i/v0/ai/batch",
        "/i/v1/analytics/events",
        "/i/v1/ai/events",
        "/flags",
        "/decide",
        "/s",
    ),
    "amplitude": ("/2/httpapi", "/batch", "/httpapi", "/identify", "/groupidentify"),
    "mixpanel": ("/track", "/import", "/engage", "/groups"),
}
# Calls and start-up pages that are asked for with GET. `*` stands for one part of the path: as a rule a key.
GET_PATHS: dict[str, tuple[str, ...]] = {
    "segment": ("/v1/projects/*/settings", "/sourceConfig"),
    "posthog": ("/array/*/config", "/array/*/config.js", "/flags", "/decide"),
    "amplitude": (),
    "mixpanel": ("/track", "/import", "/engage", "/groups"),
}


_EVERYWHERE = {
    "unknown_field": "a field that no SDK of the family has",
    "placeholder_key": "the id of a message that says `null` or `undefined`: the message gets a key of its own",
}
# What has no place in our messages, by family and kind: the labels of headrace_edge_sdk_lost_total.
LOST: dict[str, dict[str, str]] = {
    "segment": {
        "integrations": "where the vendor would pass the message on to",
        "metadata": "which integrations the SDK has in it",
        "channel": "which SDK it was (RudderStack)",
        "identity_context": "`context` of identify, group and alias, but for its traits",
        **_EVERYWHERE,
    },
    "posthog": {
        "recording": "session recordings and performance events",
        "options": "options of capture v1, such as `cookieless_mode`",
        **_EVERYWHERE,
    },
    "amplitude": {
        **dict.fromkeys(
            ("$add", "$append", "$prepend", "$preInsert", "$postInsert", "$remove", "$clearAll"),
            "an operation on traits: ours are set, set once, removed",
        ),
        "unknown_operation": "another operation on traits",
        "groups": "of several keys of one type in an event, all but the last",
        "group_properties": "traits of a group in another event than `$groupidentify`",
        "event_properties": "properties of an `$identify` or `$groupidentify`, which becomes no event",
        **dict.fromkeys(("plan", "ingestion_metadata", "partner_id", "extra"), "a field about Amplitude itself"),
        **_EVERYWHERE,
    },
    "mixpanel": {
        **dict.fromkeys(
            ("$add", "$append", "$union", "$remove", "$delete"),
            "an operation on traits: ours are set, set once, removed",
        ),
        **_EVERYWHERE,
    },
}

_ALL = sorted({path for paths in (*POST_PATHS.values(), *GET_PATHS.values()) for path in paths})
_KEYED = [path for path in _ALL if "*" in path]
_PLAIN = frozenset(_ALL).difference(_KEYED)
_PATTERNS = {path: re.compile(re.escape(path).replace(re.escape("*"), "[^/]+")) for path in _KEYED}


def sdk_path(path: str) -> str | None:
    """The address as it stands above, without a key; None where there is none, whatever the method."""
    bare = path.removesuffix("/")
    if bare in _PLAIN:
        return bare
    return next((shown for shown, pattern in _PATTERNS.items() if pattern.fullmatch(bare)), None)
