"""Every call of the public API page, as the page shows it: its curl lines, with only the host changed."""

import json
import shlex
from typing import Any

import httpx
import pytest

from tests.support.pipeline import KEY, Pipeline

PAGE_HOST = "https://api.infrai.cc"

TRACK = """curl -X POST https://api.infrai.cc/v1/analytics/track \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"event": "checkout_completed", "distinct_id": "user_42", "properties": {"amount": 19.99}}'"""
IDENTIFY = """curl -X POST https://api.infrai.cc/v1/analytics/identify \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"distinct_id": "..."}'"""
ALIAS = """curl -X POST https://api.infrai.cc/v1/analytics/alias \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"old_id": "...", "new_id": "..."}'"""
BATCH = """curl -X POST https://api.infrai.cc/v1/analytics/batch \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"events": []}'"""
GROUP = """curl -X POST https://api.infrai.cc/v1/analytics/group \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"distinct_id": "...", "group_type": "...", "group_key": "..."}'"""
DASHBOARD_CREATE = """curl -X POST https://api.infrai.cc/v1/analytics/dashboard/create \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"name": "...", "queries": []}'"""
DASHBOARD_GET = """curl -X GET https://api.infrai.cc/v1/analytics/dashboard/get/DASHBOARD_ID \\
-H "Authorization: Bearer $INFRAI_API_KEY\""""
DASHBOARD_LIST = """curl -X GET https://api.infrai.cc/v1/analytics/dashboard/list \\
-H "Authorization: Bearer $INFRAI_API_KEY\""""
DASHBOARD_DELETE = """curl -X DELETE https://api.infrai.cc/v1/analytics/dashboard/delete/DASHBOARD_ID \\
-H "Authorization: Bearer $INFRAI_API_KEY\""""
EVENTS = """curl -X POST https://api.infrai.cc/v1/analytics/query/events \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"since": "...", "until": "..."}'"""
RETENTION = """curl -X POST https://api.infrai.cc/v1/analytics/query/retention \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"born_event": "...", "return_event": "...", "since": "...", "until": "..."}'"""
PATH = """curl -X POST https://api.infrai.cc/v1/analytics/query/path \\
-H "Authorization: Bearer $INFRAI_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"start_event": "...", "since": "...", "until": "..."}'"""


def curl(pipeline: Pipeline, line: str, **values: str) -> httpx.Response:
    """Do what the curl line does. `values` replace what the page leaves open (`"since": "..."`, DASHBOARD_ID)."""
    line = line.replace(PAGE_HOST, pipeline.base_url).replace("$INFRAI_API_KEY", KEY)
    words = shlex.split(line.replace("\\\n", " "))
    method, url, headers, body = "GET", "", {}, None
    options = iter(words[1:])
    for word in options:
        if word == "-X":
            method = next(options)
        elif word == "-H":
            name, _, value = next(options).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = {**json.loads(next(options)), **values}
        else:
            url = word.replace("DASHBOARD_ID", values.get("dashboard_id", "DASHBOARD_ID"))
    return httpx.request(method, url, headers=headers, content=None if body is None else json.dumps(body), timeout=30)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        pytest.param(TRACK, {"ok": True, "accepted": 1}, id="track"),
        pytest.param(IDENTIFY, {"ok": True}, id="identify"),
        pytest.param(ALIAS, {"merged": False}, id="alias to itself"),
        pytest.param(BATCH, {"ok": True, "accepted": 0}, id="empty batch"),
        pytest.param(GROUP, {"ok": True}, id="group"),
        pytest.param(DASHBOARD_DELETE, {"ok": True}, id="delete of what is not there"),
    ],
)
def test_line_works_as_it_stands(pipeline: Pipeline, line: str, answer: dict[str, Any]) -> None:
    response = curl(pipeline, line)
    assert response.status_code == 200, response.text
    assert response.json() == answer


def test_alias_of_two_ids(pipeline: Pipeline) -> None:
    assert curl(pipeline, ALIAS, old_id="page_old", new_id="page_new").json() == {"merged": True}


def test_dashboard_lines_in_a_row(pipeline: Pipeline) -> None:
    created = curl(pipeline, DASHBOARD_CREATE)
    assert created.status_code == 200, created.text
    dashboard = created.json()
    assert dashboard["name"] == "..."
    assert dashboard["queries"] == []
    found = curl(pipeline, DASHBOARD_GET, dashboard_id=dashboard["dashboard_id"])
    assert found.json() == dashboard
    assert dashboard in curl(pipeline, DASHBOARD_LIST).json()["items"]
    assert curl(pipeline, DASHBOARD_DELETE, dashboard_id=dashboard["dashboard_id"]).json() == {"ok": True}
    assert curl(pipeline, DASHBOARD_GET, dashboard_id=dashboard["dashboard_id"]).status_code == 404


def test_unknown_dashboard_is_not_found(pipeline: Pipeline) -> None:
    response = curl(pipeline, DASHBOARD_GET)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("line", [EVENTS, RETENTION, PATH], ids=["events", "retention", "path"])
def test_question_with_the_dots_left_in_says_which_field(pipeline: Pipeline, line: str) -> None:
    response = curl(pipeline, line)
    assert response.status_code == 400
    assert response.json()["error"]["field"] == "since"


@pytest.mark.parametrize(
    ("line", "fields"),
    [(EVENTS, {"events"}), (RETENTION, {"matrix"}), (PATH, {"root", "children"})],
    ids=["events", "retention", "path"],
)
def test_question_with_a_window(pipeline: Pipeline, line: str, fields: set[str]) -> None:
    response = curl(pipeline, line, since="2026-01-01T00:00:00Z", until="2026-02-01T00:00:00Z")
    assert response.status_code == 200, response.text
    assert fields <= set(response.json())
