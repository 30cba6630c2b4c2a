"""The routes that steer a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response

from durablectl import control
from durablectl.errors import UsageError
from durablectl.http.answers import HttpError, json_response
from durablectl.http.parameters import ONLY_KNOWN
from durablectl.http.shapes import Done, documented

if TYPE_CHECKING:
    from durablectl.control import Steered
    from durablectl.http.backend import Backend

_LONGEST = 19
"""Digits of a revision: it has 64 bits."""

_Reason = Annotated[str, Query(max_length=2000, description="Kept, and shown everywhere.")]
_IfMatch = Annotated[
    str, Header(description="Do it to this revision only: an `ETag`, or a revision. 412 if it has changed since.")
]
CHANGED = (400, 404, 409, 412, 413, 503)


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["steering"], dependencies=ONLY_KNOWN)

    @routes.post("/workflows/{invocation_id}/pause", summary="Pause", responses=documented(Done, *CHANGED))
    async def pause(invocation_id: str, reason: _Reason = "", if_match: _IfMatch = "") -> Response:
        """The step in flight ends, and no other starts."""
        return done(await control.pause(backend.store, invocation_id, reason, if_revision=_revision(if_match)))

    @routes.post("/workflows/{invocation_id}/resume", summary="Resume", responses=documented(Done, *CHANGED))
    async def resume(invocation_id: str, if_match: _IfMatch = "") -> Response:
        return done(await control.resume(backend.store, invocation_id, if_revision=_revision(if_match)))

    @routes.post("/workflows/{invocation_id}/cancel", summary="Cancel", responses=documented(Done, *CHANGED))
    async def cancel(
        invocation_id: str,
        *,
        reason: _Reason = "",
        now: Annotated[bool, Query(description="Without its compensations.")] = False,
        if_match: _IfMatch = "",
    ) -> Response:
        """Interrupts the step in flight; the compensations run before it has ended."""
        steered = await control.cancel(backend.store, invocation_id, reason, now=now, if_revision=_revision(if_match))
        return done(steered)

    @routes.post("/workflows/{invocation_id}/retry", summary="Retry", responses=documented(Done, *CHANGED))
    async def retry(
        invocation_id: str,
        *,
        from_step: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="Drop what lies behind.")] = None,
        restart: Annotated[bool, Query(description="A new invocation with the same input.")] = False,
        if_match: _IfMatch = "",
    ) -> Response:
        """What has failed or was cancelled goes on from its first unfinished step."""
        revision = _revision(if_match)
        if restart:
            if from_step is not None:
                raise UsageError("restart and from_step were given.", hint="A restart begins at the first step.")
            return done(await control.restart(backend.store, invocation_id, if_revision=revision))
        return done(await control.retry(backend.store, invocation_id, from_step=from_step, if_revision=revision))

    @routes.delete("/workflows/{invocation_id}", summary="Delete", responses=documented(Done, *CHANGED))
    async def delete(invocation_id: str, if_match: _IfMatch = "") -> Response:
        """Only what has ended."""
        return done(await control.delete(backend.store, invocation_id, if_revision=_revision(if_match)))

    return routes


def done(steered: Steered) -> Response:
    return json_response(steered.to_json())


def _revision(if_match: str) -> int:
    """Of an ETag or a number; 0 for any."""
    text = if_match.strip().removeprefix("W/").strip('"')
    if text in {"", "*"}:
        return 0
    number = text.partition("-")[0]
    if not number.isascii() or not number.isdecimal() or len(number) > _LONGEST or not int(number):
        raise HttpError(412, "stale_revision", f"If-Match {if_match!r} is no ETag of a workflow.")
    return int(number)
