"""The routes that steer a workflow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response

from durablectl import control
from durablectl.errors import UsageError
from durablectl.http import query_parameters as p
from durablectl.http.responses import json_response
from durablectl.http.schemas import Done, documented

if TYPE_CHECKING:
    from durablectl.control import OperationResult
    from durablectl.http.backend import Backend

_REVISION = re.compile(r"([1-9]\d{0,18})(-\d+)?", re.ASCII)

IfMatch = Annotated[
    str | None,
    Header(
        description="Do it to this revision only: an `ETag`, or a revision. 412 if it has changed since.",
        examples=['"41-3"'],
        json_schema_extra=p.pattern(r'\*|(W/)?"?[1-9][0-9]{0,18}(-[0-9]+)?"?'),
    ),
]
Reason = Annotated[
    str, Query(max_length=2000, description="Kept, and shown everywhere.", examples=["waiting for the bank"])
]

CHANGED = (400, 404, 409, 412, 413, 503)


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["steering"], dependencies=p.ONLY_KNOWN)

    @routes.post("/workflows/{invocation_id}/pause", summary="Pause", responses=documented(Done, *CHANGED))
    async def pause(invocation_id: p.InvocationId, reason: Reason = "", if_match: IfMatch = None) -> Response:
        """The step in flight ends, and no other starts."""
        return result_response(
            await control.pause(backend.store, invocation_id, reason, if_revision=_revision(if_match))
        )

    @routes.post("/workflows/{invocation_id}/resume", summary="Resume", responses=documented(Done, *CHANGED))
    async def resume(invocation_id: p.InvocationId, if_match: IfMatch = None) -> Response:
        return result_response(await control.resume(backend.store, invocation_id, if_revision=_revision(if_match)))

    @routes.post("/workflows/{invocation_id}/cancel", summary="Cancel", responses=documented(Done, *CHANGED))
    async def cancel(
        invocation_id: p.InvocationId,
        *,
        reason: Reason = "",
        now: Annotated[bool, Query(description="Without its compensations.", examples=[False])] = False,
        if_match: IfMatch = None,
    ) -> Response:
        """Interrupts the step in flight; the compensations run before it has ended."""
        result = await control.cancel(backend.store, invocation_id, reason, now=now, if_revision=_revision(if_match))
        return result_response(result)

    @routes.post("/workflows/{invocation_id}/retry", summary="Retry", responses=documented(Done, *CHANGED))
    async def retry(
        invocation_id: p.InvocationId,
        *,
        from_step: Annotated[
            int | None, Query(ge=0, le=2**31 - 1, description="Go on from this step.", examples=[2])
        ] = None,
        restart: Annotated[bool, Query(description="A new invocation with the same input.", examples=[False])] = False,
        if_match: IfMatch = None,
    ) -> Response:
        """What has failed or was cancelled goes on from its first unfinished step."""
        revision = _revision(if_match)
        if restart:
            if from_step is not None:
                raise UsageError("restart and from_step were given.", hint="A restart begins at the first step.")
            return result_response(await control.restart(backend.store, invocation_id, if_revision=revision))
        return result_response(
            await control.retry(backend.store, invocation_id, from_step=from_step, if_revision=revision)
        )

    @routes.post("/workflows/{invocation_id}/retry-now", summary="Retry now", responses=documented(Done, *CHANGED))
    async def retry_now(invocation_id: p.InvocationId, if_match: IfMatch = None) -> Response:
        """The next attempt of what backs off begins at once."""
        return result_response(await control.retry_now(backend.store, invocation_id, if_revision=_revision(if_match)))

    @routes.post(
        "/workflows/{invocation_id}/restart-step", summary="Restart a step", responses=documented(Done, *CHANGED)
    )
    async def restart_step(
        invocation_id: p.InvocationId,
        *,
        step: Annotated[
            int | None, Query(ge=0, le=2**31 - 2, description="By default the one that it shows.", examples=[2])
        ] = None,
        if_match: IfMatch = None,
    ) -> Response:
        """The attempt that is under way is interrupted, and the next one begins at once."""
        return result_response(
            await control.restart_step(backend.store, invocation_id, step, if_revision=_revision(if_match))
        )

    @routes.delete("/workflows/{invocation_id}", summary="Delete", responses=documented(Done, *CHANGED))
    async def delete(invocation_id: p.InvocationId, if_match: IfMatch = None) -> Response:
        """Only what has ended."""
        return result_response(await control.delete(backend.store, invocation_id, if_revision=_revision(if_match)))

    return routes


def result_response(result: OperationResult) -> Response:
    return json_response(result.to_json())


def _revision(if_match: str | None) -> int:
    """Of an ETag or a number; 0 for any."""
    if if_match is None:
        return 0
    text = if_match.strip().removeprefix("W/").strip('"')
    if text == "*":
        return 0
    found = _REVISION.fullmatch(text)
    if found is None:
        raise UsageError(f"The header If-Match cannot be used: {if_match[:80]!r} is no ETag of a workflow.")
    return int(found[1])
