"""The routes that send something in: starts, signals, answers."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from durablectl import control, query
from durablectl.control import StartRequest
from durablectl.errors import AlreadyExistsError, InvalidValueError, UsageError
from durablectl.http import query_parameters as p
from durablectl.http.responses import json_response
from durablectl.http.routes.lifecycle import CHANGED, result_response
from durablectl.http.schemas import NAME, Done, Started, documented, json_body
from durablectl.model.user_input import parse_duration, parse_future_time, parse_time
from durablectl.model.values import encode_value

if TYPE_CHECKING:
    from durablectl.http.backend import Backend

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_DEEPEST = 200

HandlerName = Annotated[str, p.path_part("The name of a handler.", "async_workflow")]
SignalName = Annotated[str, p.path_part("The name of the signal.", "note")]
AwakeableId = Annotated[
    str,
    p.path_part(
        "The id of an awakeable, which `waiting_for` of its workflow shows.",
        "abc-123-def-456.approval",
        rf"{NAME}\.{NAME}(\.[0-9]{{1,9}})?",
    ),
]
Delay = Annotated[str | None, p.query_text("Start after this: `90s`, `2h`, `3d`.", "90s", p.DURATION)]
At = Annotated[
    str | None,
    Query(
        description="Start at this time: RFC 3339, or a date.",
        examples=["2026-11-22T12:00:00Z"],
        json_schema_extra={"anyOf": [{"type": "string", "format": each} for each in ("date", "date-time")]},
    ),
]
NewId = Annotated[str | None, p.query_text("The invocation id; one is made without it.", "order-17")]
NewPartitionKey = Annotated[str | None, p.query_text("Its partition key.", "user-001")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Sent again with the same key, it starts nothing, and answers the same; 409 with another input.",
        examples=["3f0e6a52"],
        json_schema_extra=p.pattern("[!-~]{1,255}"),
    ),
]


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["sending"], dependencies=p.ONLY_KNOWN)

    @routes.post(
        "/workflows/{handler}/invoke",
        summary="Start a workflow",
        status_code=202,
        responses=documented(Started, 400, 409, 413, 503, success=202),
        openapi_extra=json_body("user-001"),
    )
    async def invoke(
        request: Request,
        handler: HandlerName,
        *,
        id: NewId = None,
        partition_key: NewPartitionKey = None,
        delay: Delay = None,
        at: At = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """The body is the input, as JSON; nothing for none. Returns once the start is stored."""
        if id is not None and idempotency_key is not None:
            raise UsageError("An id and an Idempotency-Key were given.", hint="The id does what the key does.")
        start_at = await _start_at(backend, delay, at)
        value = await _body(request)
        chosen = id if idempotency_key is None else _id_of(idempotency_key)
        start = StartRequest(handler, value, chosen, partition_key, start_at)
        try:
            started = await control.start(backend.store, start, is_patient=False)
        except AlreadyExistsError:
            if idempotency_key is None or chosen is None:
                raise
            await _require_same(backend, start, chosen)
            started = chosen
        return json_response({"invocation_id": started}, 202, {"Location": f"/api/workflows/{started}"})

    @routes.post(
        "/workflows/{invocation_id}/signals/{name}",
        summary="Send a signal",
        responses=documented(Done, *CHANGED),
        openapi_extra=json_body("hello"),
    )
    async def signal(request: Request, invocation_id: p.InvocationId, name: SignalName) -> Response:
        """The body is its data, as JSON."""
        return result_response(await control.signal(backend.store, invocation_id, name, await _body(request)))

    @routes.post(
        "/awakeables/{awakeable_id}/resolve",
        summary="Answer an awakeable",
        responses=documented(Done, *CHANGED),
        openapi_extra=json_body(example=True),
    )
    async def resolve(request: Request, awakeable_id: AwakeableId) -> Response:
        """The body is the answer, as JSON."""
        return result_response(await control.resolve(backend.store, awakeable_id, await _body(request)))

    @routes.post(
        "/awakeables/{awakeable_id}/reject",
        summary="Answer an awakeable with an error",
        responses=documented(Done, *CHANGED),
        openapi_extra=json_body("card declined", {"type": ["string", "null"]}),
    )
    async def reject(request: Request, awakeable_id: AwakeableId) -> Response:
        """The body is the error, as a JSON string."""
        error = await _body(request)
        if error is not None and not isinstance(error, str):
            raise InvalidValueError("The body of a rejection is a JSON string: the error.")
        return result_response(await control.reject(backend.store, awakeable_id, error or ""))

    return routes


def _id_of(key: str) -> str:
    """The same for the same key."""
    if not _KEY.fullmatch(key):
        raise UsageError("The header Idempotency-Key cannot be used: it takes 1 to 255 printable ASCII characters.")
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


async def _require_same(backend: Backend, start: StartRequest, invocation_id: str) -> None:
    """AlreadyExistsError if the key belongs to a start of something else."""
    view = await query.get_workflow(backend.store, invocation_id, steps=(0, 0))
    then = (view.handler, view.partition_key, encode_value(view.input, "the stored input"))
    if then != (start.handler, start.partition_key or "", encode_value(start.input, "the input")):
        raise AlreadyExistsError(
            "The Idempotency-Key was used for another start: its handler, input or partition key differ.",
            hint="Send what was sent the first time, or another key.",
        )


async def _start_at(backend: Backend, delay: str | None, at: str | None) -> int:
    """In microseconds, a delay counted from now by the server's clock; 0 for at once."""
    if delay is not None and at is not None:
        raise UsageError("delay and at were given.", hint="Give one of them.")
    if delay is not None:
        parse_duration(delay, "parameter delay")  # what is no duration needs no server
        return parse_future_time(delay, "parameter delay", await query.server_time(backend.store))
    return 0 if at is None else parse_time(at, "parameter at")


async def _body(request: Request) -> Any:
    """None for no body. Whatever the content type says: ``curl -d`` names that of a form."""
    data = await request.body()
    if not data.strip():
        return None
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidValueError(f"The body is not JSON{place}.", hint="A string needs its quotation marks.") from None
    _check_depth(value)
    return value


def _refuse_constant(name: str) -> None:
    raise InvalidValueError(f"The body is not JSON: {name} is no number there.", hint="Send null, or a string.")


def _check_depth(value: Any) -> None:
    """What is nested deeper could be stored, but not shown."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        if not inner:
            return
        level = [each for values in inner for each in values]
    raise InvalidValueError(f"The body is nested deeper than {_DEEPEST} levels.")
