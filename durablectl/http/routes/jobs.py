"""The routes of bulk jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response

from durablectl import control, query
from durablectl.http import query_parameters as p
from durablectl.http.filter_parameters import with_filters
from durablectl.http.responses import json_response
from durablectl.http.routes.lifecycle import Reason, result_response
from durablectl.http.schemas import Done, Job, JobReports, Jobs, documented
from durablectl.model.filters import Filters
from durablectl.model.jobs import JobOperation, parse_outcomes
from durablectl.system.job_selection import start_job_matching

if TYPE_CHECKING:
    from durablectl.http.backend import Backend
    from durablectl.model.jobs import ItemOutcome

_CHANGED = (400, 404, 409, 503)
_FASTEST = control.FASTEST_JOB

JobId = Annotated[str, p.path_part("The id of a job.", "job-0a1b2c3d4e")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.", examples=[50])]
Cursor = Annotated[
    str,
    Query(
        description="`next_cursor` of the page before.",
        examples=["LTE3NjM4MDQ4MDAwMDAwMDB-YWJjLTEyMw"],
        json_schema_extra=p.pattern("[A-Za-z0-9_-]*"),
    ),
]
Statuses = Annotated[list[str] | None, p.query_list("Only these statuses.", ["running"], p.STATUSES)]
Operation = Annotated[str, p.query_text("What is done to each workflow.", "cancel", "|".join(JobOperation))]
Outcomes = Annotated[
    list[str] | None, p.query_list("`failed`, the default, or `skipped`.", ["failed"], "failed|skipped")
]


def router(backend: Backend) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["jobs"], dependencies=p.ONLY_KNOWN)

    @routes.get("/jobs", summary="List bulk jobs, newest first", responses=documented(Jobs, 400, 404, 503))
    async def list_jobs(status: Statuses = None, limit: Limit = 50, cursor: Cursor = "") -> Response:
        """A job is kept for 30 days after its end."""
        return json_response((await query.list_jobs(backend.store, p.split(status), limit, cursor=cursor)).to_json())

    @routes.post(
        "/jobs",
        summary="Start a bulk job",
        status_code=202,
        responses=documented(Job, *_CHANGED, success=202),
    )
    @with_filters()
    async def start_job(
        filters: Filters,
        *,
        operation: Operation,
        rate: Annotated[float, Query(ge=0, le=_FASTEST, description="At most so many a second.", examples=[50])] = 0.0,
        operation_reason: Reason = "",
        now: Annotated[bool, Query(description="Of a cancellation: without compensations.", examples=[False])] = False,
        from_step: Annotated[
            int | None, Query(ge=0, le=2**31 - 1, description="Of a retry: go on from this step.", examples=[2])
        ] = None,
    ) -> Response:
        """Processors change all workflows that match now; without `status`, those that the operation can change."""
        job_id = await start_job_matching(
            backend.store,
            operation,
            filters,
            rate=rate,
            reason=operation_reason,
            now=now,
            from_step=from_step,
        )
        view = await query.get_job(backend.store, job_id)
        return json_response(view.to_json(), 202, {"Location": f"/api/jobs/{job_id}"})

    @routes.get("/jobs/{job_id}", summary="One bulk job", responses=documented(Job, 400, 404, 409, 503))
    async def get_job(job_id: JobId) -> Response:
        return json_response((await query.get_job(backend.store, job_id)).to_json())

    @routes.get(
        "/jobs/{job_id}/reports",
        summary="Why a job did not change workflows",
        responses=documented(JobReports, 400, 404, 409, 503),
    )
    async def job_reports(
        job_id: JobId,
        outcome: Outcomes = None,
        limit: Limit = 1000,
        offset: Annotated[int, Query(ge=0, le=10_000_000, description="Leave out so many.", examples=[1000])] = 0,
    ) -> Response:
        """In the order in which the job came to them. The first 100,000 of a job are kept."""
        outcomes = parse_outcomes(p.split(outcome) or ["failed"])
        return json_response(await _reports(backend, job_id, outcomes, offset, limit))

    @routes.post("/jobs/{job_id}/pause", summary="Pause a bulk job", responses=documented(Done, *_CHANGED))
    async def pause_job(job_id: JobId, reason: Reason = "") -> Response:
        """No further workflow is changed."""
        return result_response(await control.pause_job(backend.store, job_id, reason))

    @routes.post("/jobs/{job_id}/resume", summary="Resume a bulk job", responses=documented(Done, *_CHANGED))
    async def resume_job(job_id: JobId) -> Response:
        return result_response(await control.resume_job(backend.store, job_id))

    @routes.post("/jobs/{job_id}/cancel", summary="Cancel a bulk job", responses=documented(Done, *_CHANGED))
    async def cancel_job(job_id: JobId, reason: Reason = "") -> Response:
        """What it has changed stays changed."""
        return result_response(await control.cancel_job(backend.store, job_id, reason))

    return routes


async def _reports(
    backend: Backend, job_id: str, outcomes: list[ItemOutcome], offset: int, limit: int
) -> dict[str, Any]:
    found = []
    number = 0
    async for report in query.job_reports(backend.store, job_id, outcomes):
        number += 1
        if number > offset + limit:
            break
        if number > offset:
            found.append(report.to_json())
    has_more = number > offset + limit
    return {"job_id": job_id, "reports": found, "next_offset": offset + limit if has_more else None}
