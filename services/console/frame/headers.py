"""What browsers are told to refuse: scripts and styles of the page's own text, and everything from other hosts."""

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


def page_headers() -> dict[str, str]:
    """Pages hold a project's data, and are kept nowhere."""
    return {**_ALWAYS, "content-security-policy": _POLICY, "cache-control": "no-store"}


def asset_headers() -> dict[str, str]:
    """Their address has a hash of what they hold."""
    return {**_ALWAYS, "cache-control": "public, max-age=31536000, immutable"}
