"""What browsers are told to refuse: scripts and styles of the page's own text, and everything from other hosts."""

from collections.abc import Mapping

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: forms would then be sent with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


# Of the API's tables: a part of the store did not answer; there are more rows.
PARTIAL, _NEXT = "x-partial", "x-next-cursor"


def page_headers() -> dict[str, str]:
    """Pages hold a project's data, and are kept nowhere."""
    return {**_ALWAYS, "content-security-policy": _POLICY, "cache-control": "no-store"}


def table_headers(name: str, answer: Mapping[str, str]) -> dict[str, str]:
    """Of a CSV that has the API's rows. A table has no place to say what is missing in it, and who opens the file sees no
    header: the file's name says it. `answer`: the API's headers."""
    partial = {PARTIAL: "true"} if PARTIAL in answer else {}
    said = f"{name}{'-first-page' if _NEXT in answer else ''}{'-partial' if partial else ''}"
    return {**page_headers(), "content-disposition": f'attachment; filename="{said}.csv"', **partial}


def asset_headers() -> dict[str, str]:
    """Their address has a hash of what they hold."""
    return {**_ALWAYS, "cache-control": "public, max-age=31536000, immutable"}
