"""The route of the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from durablectl import query
from durablectl.http import query_parameters as p
from durablectl.http.responses import json_response
from durablectl.http.schemas import Changes, documented
from durablectl.model.user_input import parse_past_time

if TYPE_CHECKING:
    from durablectl.http.backend import Backend

_NAME = "[A-Za-z0-9_-]{0,200}"

Name = Annotated[str, p.query_text("Only changes of this workflow or schedule.", "order-17", _NAME)]
Actor = Annotated[str, p.query_text("Only actors, addresses or NATS users that contain this.", "ann", ".{0,200}")]
Action = Annotated[str, p.query_text("Only this action.", "cancel", "[a-z_.]{0,50}")]
Time = Annotated[str | None, p.query_text("A time, as of `/api/workflows`.", "2h", ".{0,50}")]
Limit = Annotated[int, Query(ge=1, le=1000, description="The newest so many.", examples=[50])]


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["audit"], dependencies=p.ONLY_KNOWN)

    @routes.get("/audit", summary="Who changed what, the newest last", responses=documented(Changes, 400, 404, 503))
    async def list_audit(
        *,
        name: Name = "",
        since: Time = None,
        until: Time = None,
        actor: Actor = "",
        action: Action = "",
        limit: Limit = 50,
    ) -> Response:
        """Changes by CLI, SDK and HTTP. They outlive the workflows."""
        now = await query.server_time(backend.store) if since or until else 0
        first, last = (
            parse_past_time(text, option, now) if text else 0 for text, option in ((since, "since"), (until, "until"))
        )
        found = await query.list_audit(
            backend.store, name, since=first, until=last, actor=actor, action=action, limit=limit
        )
        return json_response({"changes": [record.to_json() for record in found]})

    return routes
