"""The routes that read: one workflow, lists, counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel

from durablectl import query
from durablectl.errors import UsageError
from durablectl.http import query_parameters as p
from durablectl.http.filter_parameters import INDEXED, with_filters
from durablectl.http.responses import json_response
from durablectl.http.schemas import Page, PartOfWorkflow, Processors, Row, Stats, StatusReport, Workflow, documented
from durablectl.model.filters import Filters
from durablectl.model.status import ACTIVE
from durablectl.model.user_input import parse_step_range
from durablectl.query.list import MAX_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durablectl.http.backend import Backend
    from durablectl.query import WorkflowPage, WorkflowView


def _fields(shape: type[BaseModel], example: str) -> Any:
    names = "|".join(shape.model_fields)
    about = "Only these fields of a workflow, separated by commas."
    return p.query_text(about, example, f"({names})(,({names}))*")


Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many at most.", examples=[50])]
Offset = Annotated[
    int, Query(ge=0, le=10_000_000, description="How many to leave out at the beginning.", examples=[100])
]
Cursor = Annotated[
    str,
    Query(
        description="`next_cursor` of the page before.",
        examples=["LTE3NjM4MDQ4MDAwMDAwMDB-YWJjLTEyMw"],
        json_schema_extra=p.pattern("[A-Za-z0-9_-]*"),
    ),
]
OldestFirst = Annotated[bool, Query(description="Instead of the newest first.", examples=[False])]
RowFields = Annotated[str | None, _fields(Row, "invocation_id,status")]
WorkflowFields = Annotated[str | None, _fields(Workflow, "status,journal")]
Steps = Annotated[
    str | None,
    p.query_text(
        "The part of the journal: `0:50`, `-10:`, `:` for all, or one number. The last 50 without it.",
        "0:50",
        "-?[0-9]{1,9}|(-?[0-9]{1,9})?:(-?[0-9]{1,9})?",
    ),
]
IfNoneMatch = Annotated[str, Header(description="An `ETag` that is known: 304 if it is still so.", examples=['"41-3"'])]


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["workflows"], dependencies=p.ONLY_KNOWN)

    @routes.get("/workflows", summary="List workflows, newest first", responses=documented(Page, 400, 404, 503))
    @with_filters()
    async def list_workflows(
        request: Request,
        *,
        filters: Filters,
        limit: Limit = 50,
        offset: Offset = 0,
        cursor: Cursor = "",
        oldest_first: OldestFirst = False,
        fields: RowFields = None,
    ) -> Response:
        """`total` counts all matches. `next_cursor`, and the `Link` header, lead to the page behind this one."""
        shown = _field_names(fields, Row)
        page = await _listed(backend, filters, limit, cursor, offset, oldest_first=oldest_first)
        return _page(request, page, shown)

    @routes.get(
        "/workflows/active", summary="List those that have not ended", responses=documented(Page, 400, 404, 503)
    )
    @with_filters("handler", "partition_key")
    async def list_active(
        request: Request,
        *,
        filters: Filters,
        limit: Limit = 50,
        offset: Offset = 0,
        cursor: Cursor = "",
        oldest_first: OldestFirst = False,
        fields: RowFields = None,
    ) -> Response:
        active = replace(filters, statuses=ACTIVE)
        shown = _field_names(fields, Row)
        page = await _listed(backend, active, limit, cursor, offset, oldest_first=oldest_first)
        return _page(request, page, shown)

    @routes.get("/workflows/stats", summary="Count workflows", responses=documented(Stats, 400, 404, 503))
    @with_filters(*INDEXED)
    async def stats(filters: Filters) -> Response:
        counts = await backend.queries.ask(("stats", filters), lambda: query.get_stats(backend.store, filters))
        return json_response(counts.to_json())

    @routes.get(
        "/workflows/{invocation_id}",
        summary="One workflow with its journal",
        responses={**documented(Workflow | PartOfWorkflow, 400, 404, 409, 503), 304: {"description": "Not Modified"}},
    )
    async def get_workflow(
        invocation_id: p.InvocationId,
        steps: Steps = None,
        fields: WorkflowFields = None,
        if_none_match: IfNoneMatch = "",
    ) -> Response:
        """The `ETag` begins with the revision, and changes with the journal, too."""
        part = parse_step_range(steps, "parameter steps")
        shown = _field_names(fields, Workflow)
        view = await query.get_workflow(backend.store, invocation_id, steps=part)
        tag = entity_tag(view)
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if _matches_tag(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        return json_response(_pick_fields(view.to_json(), shown), headers=headers)

    @routes.get(
        "/status", summary="What is in trouble, and what moves", responses=documented(StatusReport, 400, 404, 503)
    )
    async def status() -> Response:
        """What `durablectl status --json` prints."""
        report = await backend.queries.ask(("status",), lambda: query.get_status(backend.store))
        return json_response(report.to_json())

    @routes.get("/processors", summary="List the live processors", responses=documented(Processors, 400, 404, 503))
    async def processors() -> Response:
        found = await query.live_processors(backend.store)
        lost = await query.lost_processors(backend.store)
        return json_response(
            {"processors": [view.to_json() for view in found], "lost": [view.to_json() for view in lost]}
        )

    return routes


async def _listed(
    backend: Backend, filters: Filters, limit: int, cursor: str, offset: int, *, oldest_first: bool
) -> WorkflowPage:
    async def listed() -> WorkflowPage:
        return await query.list_workflows(
            backend.store, filters, limit, cursor=cursor, offset=offset, oldest_first=oldest_first
        )

    return await backend.queries.ask(("list", filters, limit, cursor, offset, oldest_first), listed)


def entity_tag(view: WorkflowView) -> str:
    return f'"{view.revision}-{view.journal_length}"'


def _matches_tag(if_none_match: str, tag: str) -> bool:
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in given or "*" in given


def _pick_fields(workflow: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: workflow[name] for name in names}


def _page(request: Request, page: WorkflowPage, names: Sequence[str]) -> Response:
    body: dict[str, Any] = page.to_json()
    body["workflows"] = [_pick_fields(workflow, names) for workflow in body["workflows"]]
    headers = {}
    if page.next_cursor:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k not in {"cursor", "offset"}]
        target = f"{request.url.path}?{urlencode([*kept, ('cursor', page.next_cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return json_response(body, headers=headers)


def _field_names(fields: str | None, shape: type[BaseModel]) -> list[str]:
    """The fields that an answer is to have, all without ``fields``. UsageError lists those that there are."""
    if fields is None:
        return list(shape.model_fields)
    names = [name.strip() for name in fields.split(",")]
    unknown = [name for name in names if name not in shape.model_fields]
    if unknown:
        raise UsageError(
            f"The parameter fields cannot be used: there is no field {unknown[0]!r}.",
            hint=f"The fields are {', '.join(shape.model_fields)}.",
        )
    return names
