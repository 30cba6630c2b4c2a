"""The routes that send something in: starts, signals, answers."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from durablectl import control
from durablectl.control import StartRequest
from durablectl.errors import AlreadyExistsError, InvalidValueError, UsageError
from durablectl.http.answers import json_response
from durablectl.http.parameters import ONLY_KNOWN
from durablectl.http.shapes import JSON_BODY, Done, Started, documented
from durablectl.http.steering import CHANGED, done
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.durations import ahead, moment

if TYPE_CHECKING:
    from durablectl.http.backend import Backend

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["sending"], dependencies=ONLY_KNOWN)

    @routes.post(
        "/workflows/{handler}/invoke",
        summary="Start a workflow",
        status_code=202,
        responses=documented(Started, 400, 409, 413, 503, success=202),
        openapi_extra=JSON_BODY,
    )
    async def invoke(
        request: Request,
        handler: str,
        *,
        id: Annotated[str | None, Query(description="The invocation id; one is made without it.")] = None,
        partition_key: Annotated[str | None, Query()] = None,
        delay: Annotated[str | None, Query(description="Start after this: `90s`, `2h`, `3d`.")] = None,
        at: Annotated[str | None, Query(description="Start at this time: RFC 3339, or a date.")] = None,
        idempotency_key: Annotated[
            str | None, Header(description="Sent again with the same key, it starts nothing, and answers the same.")
        ] = None,
    ) -> Response:
        """The body is the input, as JSON; nothing for none. Returns once the start is stored."""
        if id is not None and idempotency_key is not None:
            raise UsageError("An id and an Idempotency-Key were given.", hint="The id does what the key does.")
        now = SYSTEM_CLOCK.now()
        if delay is not None and at is not None:
            raise UsageError("delay and at were given.", hint="Give one of them.")
        start_at = ahead(delay, "parameter delay", now) if delay is not None else 0
        start_at = moment(at, "parameter at") if at is not None else start_at
        value = await _body(request)
        chosen = id if idempotency_key is None else _id_of(handler, idempotency_key)
        try:
            started = await control.start(
                backend.store, StartRequest(handler, value, chosen, partition_key or None, start_at)
            )
        except AlreadyExistsError:
            if idempotency_key is None or chosen is None:
                raise
            started = chosen
        return json_response({"invocation_id": started}, 202, {"Location": f"/api/workflows/{started}"})

    @routes.post(
        "/workflows/{invocation_id}/signals/{name}",
        summary="Send a signal",
        responses=documented(Done, *CHANGED),
        openapi_extra=JSON_BODY,
    )
    async def signal(request: Request, invocation_id: str, name: str) -> Response:
        """The body is its data, as JSON."""
        return done(await control.signal(backend.store, invocation_id, name, await _body(request)))

    @routes.post(
        "/awakeables/{awakeable_id}/resolve",
        summary="Answer an awakeable",
        responses=documented(Done, *CHANGED),
        openapi_extra=JSON_BODY,
    )
    async def resolve(request: Request, awakeable_id: str) -> Response:
        """The body is the answer, as JSON."""
        return done(await control.resolve(backend.store, awakeable_id, await _body(request)))

    @routes.post(
        "/awakeables/{awakeable_id}/reject",
        summary="Answer an awakeable with an error",
        responses=documented(Done, *CHANGED),
        openapi_extra=JSON_BODY,
    )
    async def reject(request: Request, awakeable_id: str) -> Response:
        """The body is the error, as a JSON string."""
        error = await _body(request)
        if error is not None and not isinstance(error, str):
            raise InvalidValueError("The body of a rejection is a JSON string: the error.")
        return done(await control.reject(backend.store, awakeable_id, error or ""))

    return routes


def _id_of(handler: str, key: str) -> str:
    """The same for the same key, of one handler."""
    if not _KEY.fullmatch(key):
        raise UsageError("The Idempotency-Key cannot be used: it takes 1 to 255 printable ASCII characters.")
    return f"key-{hashlib.sha256(f'{handler} {key}'.encode()).hexdigest()[:32]}"


async def _body(request: Request) -> Any:
    """None for no body. Whatever the content type says: ``curl -d`` names that of a form."""
    data = await request.body()
    if not data.strip():
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidValueError(f"The body is not JSON{place}.", hint="A string needs its quotation marks.") from None
