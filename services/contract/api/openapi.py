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
    "persons": "One person: who they are and what they did.",
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
            "200": _json(call.summary, _open(schema_of[id(call.response)])),
            **_error_responses(call.errors, schema_of[id(ErrorBody)]),
        },
    }
    if call.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _open(schema_of[id(call.request)])}},
        }
    return operation


def _subject(call: Call) -> str:
    first, *others = call.path.strip("/").split("/")
    return first if others else "ingest"


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
