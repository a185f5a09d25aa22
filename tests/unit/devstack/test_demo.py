"""The links that `headrace demo` ends with ask what it says."""

from urllib.parse import parse_qsl, urlsplit

from services.console.queries.asked import asked_of
from services.console.queries.kinds import KINDS
from services.devstack.demo import console_links

WINDOW = {"since": "2024-01-01", "until": "2024-07-01", "timezone": "UTC"}


def test_links_are_queries_of_the_console() -> None:
    retention, funnel = map(urlsplit, console_links("http://127.0.0.1:8000"))
    assert (retention.path, funnel.path) == ("/console/retention", "/console/funnel")
    bodies = [
        asked_of(KINDS[kind], parse_qsl(link.query)).body
        for kind, link in (("retention", retention), ("funnel", funnel))
    ]
    assert bodies == [
        {"born_event": "home", "return_event": "purchase", "interval": "week", **WINDOW},
        {"steps": [{"event": "home"}, {"event": "product_view"}, {"event": "purchase"}], **WINDOW},
    ]
