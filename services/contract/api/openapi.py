"""The OpenAPI document of all calls, generated from the types that validate them."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec

from services.contract.api.endpoints import BASE_PATH, INGEST_CALLS, Call
from services.contract.api.errors import ErrorBody, ErrorCode
from services.contract.api.query_endpoints import QUERY_CALLS

# By the first part of a call's path; calls of ingest have one part only.
_SUBJECTS = {
    "ingest": "Send events, and say who is who. The key needs the scope `ingest`.",
    "query": "Ask. The key needs the scope `query`, here and below.",
    "events": "Single events: one by its id, and those that come in.",
    "persons": "One person: who they are and what they did.",
    "groups": "One group: a company, a team or the like.",
    "cohorts": "Cohorts under a name, for every query.",
    "dashboard": "Saved queries, run together.",
    "privacy": "Delete data of a person or of a time window.",
}

CALLS: tuple[Call, ...] = (*INGEST_CALLS, *QUERY_CALLS)


@cache
def openapi_document(version: str) -> bytes:
    """OpenAPI 3.1, as JSON."""
    types = [ErrorBody, *[t for call in CALLS for t in (call.request, call.response) if t is not None]]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for component in components.values():
        component["description"] = cleandoc(component["description"])  # a docstring, indented as in its class
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for call in CALLS:
        paths[BASE_PATH + call.path][call.method.lower()] = _operation(call, schema_of)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Headrace",
                "version": version,
                "description": "Product analytics: track, identify, retention, paths and dashboards.",
            },
            "tags": [{"name": name, "description": text} for name, text in _SUBJECTS.items()],
            "paths": paths,
            "components": {
                "schemas": _open(components),
                "securitySchemes": {"projectKey": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"projectKey": []}],
        }
    )


def _operation(call: Call, schema_of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "tags": [_subject(call)],
        "summary": call.summary,
        "description": f"Needs a project key with the scope `{call.scope}`.",
        "parameters": list(call.parameters),
        "responses": {
            "200": _answer(call, _open(schema_of[id(call.response)])),
            **({"304": {"description": "As `If-None-Match` has it."}} if _has_tag(call) else {}),
            **_error_responses(call.errors, schema_of[id(ErrorBody)]),
        },
    }
    if call.request is not None:
        body = {"schema": _open(schema_of[id(call.request)])}
        if call.example is not None:
            body["example"] = call.example
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    return operation


def _answer(call: Call, schema: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {call.media: {"schema": schema}}
    if call.csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": call.summary, "content": content}


def _has_tag(call: Call) -> bool:
    return any(parameter["name"] == "If-None-Match" for parameter in call.parameters)


def _subject(call: Call) -> str:
    first = call.path.strip("/").partition("/")[0]
    return first if first in _SUBJECTS else "ingest"


def _error_responses(codes: Sequence[ErrorCode], schema: dict[str, Any]) -> dict[str, Any]:
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[code.status].append(code.code)
    responses = {}
    for status, names in sorted(by_status.items()):
        response = _json("Error codes: " + ", ".join(names), schema)
        if status in (429, 503):
            response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
        responses[str(status)] = response
    return responses


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _open(schema: Any) -> Any:
    """Unknown fields are ignored with a warning, so the document must not forbid them as the decoder's types do."""
    if isinstance(schema, dict):
        return {k: _open(v) for k, v in schema.items() if k != "additionalProperties" or v is not False}
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    return schema
