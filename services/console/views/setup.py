"""How to send: lines for this address, by what sends. They stand in docs/how-to too, with all that is behind them."""

import json

from msgspec import Struct

from services.console.frame.curl import KEY_VARIABLE

# Stands in the lines of SDKs until a key is filled in; the page's script does that, and sends it to nobody.
SDK_KEY = "HR_INGEST_KEY"


class Snippet(Struct, frozen=True):
    """Lines to copy. `sdk_key`: they send the key where it must have the scope `ingest` alone."""

    id: str
    name: str
    text: str
    note: str = ""
    sdk_key: bool = False


def snippets(base_url: str, key: str) -> list[Snippet]:
    """`key`: filled in where it is sent in the Authorization header; empty: it comes from the environment."""
    return [_curl(base_url, key), _python(base_url, key), _javascript(base_url), _segment(base_url), _posthog(base_url)]


def _curl(base_url: str, key: str) -> Snippet:
    body = '{"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}}'
    text = (
        f"curl -X POST {base_url}/v1/analytics/track \\\n"
        f'  -H "Authorization: Bearer {key or f"${KEY_VARIABLE}"}" -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )
    return Snippet("curl", "curl", text)


def _python(base_url: str, key: str) -> Snippet:
    imports, value = ("", json.dumps(key)) if key else ("import os\n", f'os.environ["{KEY_VARIABLE}"]')
    text = (
        f"{imports}import httpx\n\n"
        f"key = {value}\n"
        "httpx.post(\n"
        f'    "{base_url}/v1/analytics/track",\n'
        '    headers={"Authorization": f"Bearer {key}"},\n'
        '    json={"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}},\n'
        ").raise_for_status()"
    )
    return Snippet("python", "Python", text, "Give each event an idempotency_key, and send again what got no 2xx.")


def _javascript(base_url: str) -> Snippet:
    text = (
        f'fetch("{base_url}/v1/analytics/track", {{\n'
        '  method: "POST",\n'
        "  keepalive: true,\n"
        f'  headers: {{ "Authorization": "Bearer {SDK_KEY}", "Content-Type": "application/json" }},\n'
        '  body: JSON.stringify({ event: "checkout_completed", distinct_id: "user_42", properties: { amount: 19.99 } }),\n'
        "});"
    )
    return Snippet("javascript", "JavaScript", text, "Everybody who opens the page can read its key.", True)


def _segment(base_url: str) -> Snippet:
    text = (
        "import segment.analytics as analytics\n\n"
        f'analytics.write_key = "{SDK_KEY}"\n'
        f'analytics.host = "{base_url}"\n'
        'analytics.track("user_42", "checkout_completed", {"amount": 19.99})\n'
        "analytics.flush()"
    )
    return Snippet("segment", "Segment SDK", text, "RudderStack and Jitsu likewise: docs/how-to/sdk-segment.md.", True)


def _posthog(base_url: str) -> Snippet:
    text = (
        "from posthog import Posthog\n\n"
        f'posthog = Posthog("{SDK_KEY}", host="{base_url}")\n'
        'posthog.capture("checkout_completed", distinct_id="user_42", properties={"amount": 19.99})\n'
        "posthog.shutdown()"
    )
    return Snippet("posthog", "PostHog SDK", text, "Amplitude and Mixpanel likewise: docs/how-to.", True)
