"""/openapi.json: what FastAPI says of the routes, with what holds for all of them, and without what does not happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from durablectl.http.middleware import OPEN_PATHS
from durablectl.http.schema_examples import EXAMPLES
from durablectl.http.schemas import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.http.server_options import HttpOptions

_Document = dict[str, Any]

_FAILURES = 400

_HEADERS = {
    ("get_workflow", "200"): ("ETag", "The revision, and the length of the journal.", '"41-3"'),
    ("get_workflow", "304"): ("ETag", "The one that was known.", '"41-3"'),
    ("invoke", "202"): ("Location", "The path of the workflow.", "/api/workflows/order-17"),
    ("list_workflows", "200"): ("Link", "The next page, if there is one.", '</api/workflows?cursor=LTE>; rel="next"'),
    ("start_job", "202"): ("Location", "The path of the job.", "/api/jobs/job-0a1b2c3d4e"),
    ("list_active", "200"): (
        "Link",
        "The next page, if there is one.",
        '</api/workflows/active?cursor=LTE>; rel="next"',
    ),
}
_STARTED = ("get_workflow", "pause", "resume", "cancel", "retry", "delete")
"""The operations that take what ``invoke`` answers."""
_ID = {"invocation_id": "$response.body#/invocation_id"}


def openapi_document(app: FastAPI, options: HttpOptions) -> None:
    """Have ``app`` answer /openapi.json with its completed document; it is made once."""
    plain = app.openapi

    def completed() -> _Document:
        if not app.openapi_schema:
            _complete(plain(), options)
        return app.openapi_schema or {}

    app.openapi = completed  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _complete(document: _Document, options: HttpOptions) -> None:
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    if options.token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, method, operation in _operations(document):
        answers = operation["responses"]
        answers.pop("422", None)  # we answer 400
        answers.setdefault("503", failure(503))
        if options.token and path not in OPEN_PATHS:
            operation["security"] = [{"token": []}]
            answers["401"] = failure(401)
            answers["401"]["headers"] = {"WWW-Authenticate": _header("How to send it.", "Bearer")}
        for parameter in operation.get("parameters", ()):
            _complete_parameter(parameter)
        if method != "get":
            answers["403"] = failure(403)
        if "requestBody" in operation:
            answers["408"] = failure(408)
        for status, answer in answers.items():
            _complete_response(operation["operationId"], status, answer)
        operation["responses"] = dict(sorted(answers.items()))
    links = {each: {"operationId": each, "parameters": _ID} for each in _STARTED}
    document["paths"]["/api/workflows/{handler}/invoke"]["post"]["responses"]["202"]["links"] = links


def _operations(document: _Document) -> Iterator[tuple[str, str, _Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _complete_parameter(parameter: _Document) -> None:
    """What is left out is no null; and the example is found at the parameter, too."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    schema |= kinds[0] | schema if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
    if examples := schema.get("examples"):
        parameter["example"] = examples[0]


def _complete_response(operation: str, status: str, answer: _Document) -> None:
    """Give it its headers, and an example of its body."""
    if (operation, status) in _HEADERS:
        name, description, value = _HEADERS[operation, status]
        answer.setdefault("headers", {})[name] = _header(description, value)
    content = answer.get("content", {}).get("application/json")
    if content is None:
        return
    name = (
        "unhealthy" if (operation, status) == ("health", "503") else status if int(status) >= _FAILURES else operation
    )
    content.setdefault("example", EXAMPLES.get(name, EXAMPLES["operation_result"]))


def _header(description: str, example: str) -> _Document:
    return {"description": description, "schema": {"type": "string"}, "example": example}
