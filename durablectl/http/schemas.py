"""What the API answers, for its description; the answers themselves are made by the views' ``to_json``."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from durablectl.model.reason_codes import ReasonCode
from durablectl.query.trouble import Trouble, Urgency

Moment = AwareDatetime | None
Json = Any
Reason = Annotated[
    str | None, Field(description="Why, for programs; a later version may have others.", examples=list(ReasonCode))
]

NAME = "[A-Za-z0-9_=-]{1,128}"
"""What ids and names are made of."""


def json_body(example: Json, schema: Mapping[str, Json] | None = None) -> dict[str, Any]:
    """The description of a body that is any JSON, or nothing."""
    content = {"application/json": {"schema": dict(schema or {}), "example": example}}
    return {"requestBody": {"required": False, "content": content}}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorBody(_Shape):
    code: str = Field(examples=["not_found"])
    message: str = Field(examples=["There is no workflow abc-123."])
    hint: str | None


class Failure(_Shape):
    error: ErrorBody


class Waiting(_Shape):
    kind: str = Field(examples=["retry"])
    name: str
    step_number: int | None
    until: Moment
    attempt: int | None
    error: str | None
    awaited_id: str | None
    reason_code: Reason


class Step(_Shape):
    step_number: int
    step_type: str = Field(examples=["HelloService.SayHello"])
    kind: str | None
    request: Json
    response: Json
    error: str
    error_type: str | None
    attempts: int | None
    started_at: Moment
    finished_at: Moment
    until: Moment
    awaited_id: str | None
    reason_code: Reason


class Dropped(_Shape):
    dropped_at: Moment
    reason: str
    steps: list[Step]


class Unclaimed(_Shape):
    kind: str = Field(examples=["signal"])
    name: str
    awakeable_id: str | None
    data: Json
    error: str | None = Field(description="Of a rejection.")
    sent_at: Moment


class Row(_Shape):
    invocation_id: str = Field(examples=["abc-123-def-456"])
    handler: str = Field(examples=["async_workflow"])
    status: str = Field(examples=["running"])
    current_step: int
    current_step_type: str
    total_steps: int
    input: Json
    output: Json
    error: str | None
    error_type: str | None
    traceback: str | None
    reason: str | None
    reason_code: Reason
    partition_key: str | None
    attempt: int
    owner: str | None
    last_owner: str | None = Field(description="The processor that runs it or ran it last.")
    version: str | None = Field(description="The version of durablectl on that processor.")
    app_version: str | None = Field(description="The version of the app on that processor.")
    waiting_for: Waiting | None
    workflow_state: dict[str, Json]
    created_at: Moment
    started_at: Moment
    updated_at: Moment
    finished_at: Moment
    parent_id: str | None
    revision: int
    schedule: str | None
    restarted_from: str | None
    restarted_as: str | None
    expires_at: Moment


def _none_required(schema: dict[str, Any]) -> None:
    del schema["required"]


class PartOfRow(Row):
    """With `fields`: those asked for."""

    model_config = ConfigDict(json_schema_extra=_none_required)


class Workflow(Row):
    children: list[str]
    journal: list[Step]
    journal_start: int
    journal_length: int
    history: list[Dropped] = Field(description="What retries have dropped from the journal.")
    unclaimed: list[Unclaimed] = Field(description="Answers and signals that came in, and that it has not received.")


class PartOfWorkflow(Workflow):
    """With `fields`: those asked for."""

    model_config = ConfigDict(json_schema_extra=_none_required)


class Page(_Shape):
    workflows: list[Row | PartOfRow]
    total: int = Field(description="All matches, not the page.")
    next_cursor: str | None


class Stats(_Shape):
    total: int
    by_status: dict[str, int] = Field(examples=[{"running": 10, "completed": 140}])
    by_handler: dict[str, int] = Field(examples=[{"async_workflow": 80}])
    by_handler_status: dict[str, dict[str, int]]
    oldest_active: Row | None
    completed_per_minute: float = Field(description="In the last five minutes.")
    completed_per_minute_last_hour: float
    set_aside: int


class Processor(_Shape):
    processor_id: str
    handlers: list[str]
    version: str | None
    app_version: str | None
    host: str | None
    process_id: int | None
    slots: int
    busy: int
    started_at: Moment
    blocked_since: Moment = Field(description="Since when code of the app blocks its event loop.")
    blocked_by: str | None = Field(description="The step that blocks it, and the line.")
    full: bool = Field(description="Whether all slots are taken.")
    clock_error_seconds: float = Field(
        description="By how much its machine is ahead of the server; negative where it is behind."
    )


class LostProcessor(_Shape):
    processor_id: str
    handlers: list[str]
    version: str | None
    app_version: str | None
    host: str | None
    process_id: int | None
    started_at: Moment
    lost_at: Moment = Field(description="When it was heard of last.")
    held: int = Field(description="How many workflows it ran then.")
    held_ids: list[str] = Field(description="Some of them.")
    returned_at: Moment = Field(description="Where it was only silent: when it was back.")


class Processors(_Shape):
    processors: list[Processor]
    lost: list[LostProcessor] = Field(description="Those that died or were silent in the last hour.")


class StatusCommand(_Shape):
    command: str = Field(examples=["durablectl wf why order-17"])
    purpose: str


class StatusGroup(_Shape):
    code: str = Field(description="Why; a later version may have others.", examples=list(Trouble))
    severity: str = Field(description="All but `notice` needs a person.", examples=list(Urgency))
    summary: str
    count: int
    is_estimate: bool = Field(description="Whether the count is extrapolated from a sample.")
    since: Moment
    recent: int = Field(description="How many got into it in the last 5 minutes.")
    is_growing: bool
    examples: list[str]
    commands: list[StatusCommand]
    details: dict[str, Json] = Field(description="More about it; the keys depend on the code.")


class CompletedPerMinute(_Shape):
    last_5_minutes: float
    last_hour: float


class OldestActive(_Shape):
    invocation_id: str
    handler: str
    status: str
    created_at: Moment


class StatusMoving(_Shape):
    by_status: dict[str, int]
    completed_per_minute: CompletedPerMinute
    backlog: int = Field(description="Workflows that wait for a slot.")
    backlog_eta_seconds: int | None
    oldest_active: OldestActive | None


class StatusProcessors(_Shape):
    live: int
    slots: int
    busy: int


class StatusReport(_Shape):
    needs_person: bool = Field(description="Whether a group is an error or a warning.")
    checked_at: Moment
    groups: list[StatusGroup] = Field(description="What is in trouble, the worst first.")
    moving: StatusMoving
    processors: StatusProcessors
    schedules: int


class Started(_Shape):
    invocation_id: str


class Done(_Shape):
    invocation_id: str
    status: str
    changed: bool = Field(description="False when it was so already.")
    message: str
    restarted_from: str | None


class Job(_Shape):
    job_id: str = Field(examples=["job-0a1b2c3d4e"])
    operation: str | None
    status: str
    filters: list[str] | None = Field(description="As words of a command line; null where ids were given.")
    reason: str | None
    now: bool
    from_step: int | None
    actor: str | None = Field(description="Who started it.")
    total: int = Field(description="While it selects, how many were found so far.")
    is_selecting: bool = Field(description="It still looks for the workflows that match, and changes none.")
    done: int
    changed: int
    unchanged: int = Field(description="It was so already.")
    skipped: int = Field(description="It no longer matched the filters when its turn came.")
    failed: int
    left: int
    reports_kept: int
    rate_limit: float | None
    recent_rate: float | None
    eta_seconds: float | None
    waits_for_processor: bool
    owner: str | None
    error: str | None
    status_reason: str | None
    created_at: Moment
    started_at: Moment
    updated_at: Moment
    finished_at: Moment


class Jobs(_Shape):
    jobs: list[Job]
    total: int
    next_cursor: str | None


class JobReport(_Shape):
    invocation_id: str
    outcome: str = Field(examples=["failed"])
    code: str = Field(examples=["invalid_state"])
    message: str


class JobReports(_Shape):
    job_id: str
    reports: list[JobReport]
    next_offset: int | None


class Change(_Shape):
    """``actor`` is user@host, or the user of an HTTP request; of a job, ``address`` is the job."""

    at: str = Field(examples=["2026-11-22T12:00:00.000Z"])
    action: str = Field(examples=["cancel"])
    actor: str = Field(examples=["ann@laptop"])
    via: str = Field(examples=["cli"])
    address: str | None
    nats_user: str | None
    invocation_id: str | None = Field(examples=["order-17"])
    handler: str | None
    target: str | None = Field(description="What is no workflow: a schedule, say.")
    reason: str | None
    refused: str | None = Field(description="The code of the error, if the change was refused after all.")
    details: dict[str, Any]


class Changes(_Shape):
    changes: list[Change]


class Health(_Shape):
    status: str = Field(examples=["healthy"])
    nats: str = Field(examples=["connected"])
    version: str


def failure(status: int) -> dict[str, Any]:
    """The answer of a route that ends with this status, where FastAPI does not make it."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def documented(shape: type[BaseModel] | Any, *failures: int, success: int = 200) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: its shape, and the error for each status. What any request can meet is added."""
    answers: dict[int | str, dict[str, Any]] = {success: {"model": shape, "description": HTTPStatus(success).phrase}}
    for status in sorted(failures):
        answers[status] = {"model": Failure, "description": HTTPStatus(status).phrase}
    return answers
