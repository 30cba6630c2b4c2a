"""The routes that read: one workflow, lists, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from durablectl import query
from durablectl.http import query_parameters as p
from durablectl.http.responses import json_response
from durablectl.http.schemas import Page, PartOfWorkflow, Processors, Row, Stats, Workflow, documented
from durablectl.model.user_input import parse_step_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durablectl.http.backend import Backend
    from durablectl.query import Filters, WorkflowPage, WorkflowView


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["workflows"], dependencies=p.ONLY_KNOWN)

    @routes.get("/workflows", summary="List workflows, newest first", responses=documented(Page, 400, 404, 503))
    async def list_workflows(
        request: Request,
        *,
        status: p.Status = None,
        handler: p.Handler = None,
        partition_key: p.PartitionKey = None,
        since: p.Since = None,
        until: p.Until = None,
        created_since: p.CreatedSince = None,
        created_until: p.CreatedUntil = None,
        error: p.ErrorText = None,
        parent: p.Parent = None,
        limit: p.Limit = 50,
        offset: p.Offset = 0,
        cursor: p.Cursor = "",
        oldest_first: p.OldestFirst = False,
        fields: p.RowFields = None,
    ) -> Response:
        """`total` counts all matches. `next_cursor`, and the `Link` header, lead to the page behind this one."""
        filters = p.filters(
            status=status,
            handler=handler,
            partition_key=partition_key,
            since=since,
            until=until,
            created_since=created_since,
            created_until=created_until,
            error=error,
            parent=parent,
        )
        shown = p.chosen(fields, Row)
        page = await _listed(backend, filters, limit, cursor, offset, oldest_first=oldest_first)
        return _page(request, page, shown)

    @routes.get(
        "/workflows/active", summary="List those that have not ended", responses=documented(Page, 400, 404, 503)
    )
    async def list_active(
        request: Request,
        *,
        handler: p.Handler = None,
        partition_key: p.PartitionKey = None,
        limit: p.Limit = 50,
        offset: p.Offset = 0,
        cursor: p.Cursor = "",
        oldest_first: p.OldestFirst = False,
        fields: p.RowFields = None,
    ) -> Response:
        filters = p.filters(status=["active"], handler=handler, partition_key=partition_key)
        shown = p.chosen(fields, Row)
        page = await _listed(backend, filters, limit, cursor, offset, oldest_first=oldest_first)
        return _page(request, page, shown)

    @routes.get("/workflows/stats", summary="Count workflows", responses=documented(Stats, 400, 404, 503))
    async def stats(
        status: p.Status = None,
        handler: p.Handler = None,
        partition_key: p.PartitionKey = None,
        since: p.Since = None,
        until: p.Until = None,
    ) -> Response:
        filters = p.filters(status=status, handler=handler, partition_key=partition_key, since=since, until=until)
        counts = await backend.queries.ask(("stats", filters), lambda: query.get_stats(backend.store, filters))
        return json_response(counts.to_json())

    @routes.get(
        "/workflows/{invocation_id}",
        summary="One workflow with its journal",
        responses={**documented(Workflow | PartOfWorkflow, 400, 404, 409, 503), 304: {"description": "Not Modified"}},
    )
    async def get_workflow(
        invocation_id: p.InvocationId,
        steps: p.Steps = None,
        fields: p.WorkflowFields = None,
        if_none_match: p.IfNoneMatch = "",
    ) -> Response:
        """The `ETag` begins with the revision, and changes with the journal, too."""
        part = parse_step_range(steps, "parameter steps")
        shown = p.chosen(fields, Workflow)
        view = await query.get_workflow(backend.store, invocation_id, steps=part)
        tag = entity_tag(view)
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if _is_known(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        return json_response(_picked(view.to_json(), shown), headers=headers)

    @routes.get("/processors", summary="List the live processors", responses=documented(Processors, 400, 404, 503))
    async def processors() -> Response:
        found = await query.live_processors(backend.store)
        return json_response({"processors": [view.to_json() for view in found]})

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


def _is_known(if_none_match: str, tag: str) -> bool:
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in given or "*" in given


def _picked(workflow: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: workflow[name] for name in names}


def _page(request: Request, page: WorkflowPage, names: Sequence[str]) -> Response:
    body: dict[str, Any] = page.to_json()
    body["workflows"] = [_picked(workflow, names) for workflow in body["workflows"]]
    headers = {}
    if page.next_cursor:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k not in {"cursor", "offset"}]
        target = f"{request.url.path}?{urlencode([*kept, ('cursor', page.next_cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return json_response(body, headers=headers)
