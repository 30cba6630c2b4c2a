"""What queries answer: frozen values, each with ``to_json`` for the JSON that CLI and HTTP print.

Times are microseconds since the epoch in the views, RFC 3339 in JSON. Absent values are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.model.clock import CLOCK_TOLERANCE, MICROSECONDS, to_rfc3339
from durablectl.model.held_workflows import is_held

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from durablectl.model.records import FailedStep, StepMismatch


@dataclass(frozen=True)
class StepView:
    """A journaled step; ``request`` and ``response`` are JSON data.

    A wait has ``finished_at`` 0 until it is over; ``until`` is when it ends by itself, ``awaited_id`` the awakeable,
    child or signal that ends it. ``reason_code`` (ReasonCode) says why it failed.
    """

    step_number: int
    step_type: str
    kind: str
    request: Any
    response: Any
    error: str
    error_type: str
    attempts: int
    started_at: int
    finished_at: int
    until: int = 0
    awaited_id: str = ""
    reason_code: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "step_number": self.step_number,
            "step_type": self.step_type,
            "kind": self.kind or None,
            "request": self.request,
            "response": self.response,
            "error": self.error,
            "error_type": self.error_type or None,
            "attempts": self.attempts or None,
            "started_at": to_rfc3339(self.started_at),
            "finished_at": to_rfc3339(self.finished_at),
            "until": to_rfc3339(self.until),
            "awaited_id": self.awaited_id or None,
            "reason_code": self.reason_code or None,
        }


@dataclass(frozen=True)
class WaitingView:
    """What an invocation waits for, by ``kind``.

    "retry": the step ``name`` failed ``attempt`` times, last with ``error``, and is tried again at ``until``.
    "processor": no live processor has registered the handler ``name``.
    "takeover": the processor ``name`` that ran it is gone, and no other has taken it over yet.
    "start": it was started with a delay, and begins at ``until``.
    "sleep", "awakeable", "signal", "child": it is suspended in the step ``name``, at most until ``until``;
    ``awaited_id`` is the awakeable to resolve, or the child.
    """

    kind: str
    name: str
    step_number: int = -1
    until: int = 0
    attempt: int = 0
    error: str = ""
    awaited_id: str = ""
    reason_code: str = ""
    since: int = 0
    """Of a retry: when the first attempt failed; 0 in records of earlier versions."""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "step_number": self.step_number if self.step_number >= 0 else None,
            "until": to_rfc3339(self.until),
            "attempt": self.attempt or None,
            "error": self.error or None,
            "awaited_id": self.awaited_id or None,
            "reason_code": self.reason_code or None,
        }


@dataclass(frozen=True)
class DroppedView:
    """What a retry has dropped from the journal."""

    dropped_at: int
    reason: str
    steps: Sequence[StepView]

    def to_json(self) -> dict[str, Any]:
        return {
            "dropped_at": to_rfc3339(self.dropped_at),
            "reason": self.reason,
            "steps": [step.to_json() for step in self.steps],
        }


@dataclass(frozen=True)
class UnclaimedView:
    """An answer (``kind`` "awakeable") or a signal that came in and that the workflow has not received.

    ``error`` is that of a rejection.
    """

    kind: str
    name: str
    awakeable_id: str
    data: Any
    error: str
    sent_at: int

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "awakeable_id": self.awakeable_id or None,
            "data": self.data,
            "error": self.error or None,
            "sent_at": to_rfc3339(self.sent_at),
        }


@dataclass(frozen=True)
class WorkflowView:
    """One invocation; in a list ``journal`` and ``history`` are None.

    ``journal`` may be a part: ``journal_length`` entries there are, and ``journal_start`` of them come before it.
    ``input``, ``output`` and ``workflow_state`` are JSON data. ``reason_code`` (ReasonCode) says why it is paused or
    cancelled, or failed; ``failed_step`` and ``mismatch`` belong to it. ``waiting_kinds``, ``step_names`` and
    ``due_at`` are those of the record, for filters; ``retrying`` is the step that backs off, ``failed_child`` the child
    that it failed with. ``unclaimed`` belongs to the journal: what came in, and it has not received.
    ``last_processor`` runs it or ran it last, with this ``version`` of durablectl and ``app_version`` of its app; empty
    where the record does not say.
    """

    invocation_id: str
    handler: str
    status: str
    current_step: int
    current_step_type: str
    total_steps: int
    input: Any
    output: Any
    error: str
    error_type: str
    traceback: str
    reason: str
    partition_key: str
    attempt: int
    owner: str
    waiting_for: WaitingView | None
    workflow_state: Mapping[str, Any]
    created_at: int
    started_at: int
    updated_at: int
    finished_at: int
    parent_id: str
    revision: int
    schedule: str = ""
    restarted_from: str = ""
    restarted_as: str = ""
    expires_at: int = 0
    reason_code: str = ""
    failed_step: FailedStep | None = None
    failed_attempts: int = 0
    """Of the failed step; 0 where the record does not have it."""
    mismatch: StepMismatch | None = None
    children: Sequence[str] = ()
    journal: Sequence[StepView] | None = None
    journal_start: int = 0
    journal_length: int = 0
    history: Sequence[DroppedView] | None = None
    unclaimed: Sequence[UnclaimedView] = ()
    waiting_kinds: Collection[str] = ()
    step_names: Collection[str] = ()
    retrying: WaitingView | None = None
    failed_child: str = ""
    last_processor: str = ""
    version: str = ""
    app_version: str = ""
    due_at: int = 0

    def to_json(self) -> dict[str, Any]:
        result = {
            "invocation_id": self.invocation_id,
            "handler": self.handler,
            "status": self.status,
            "current_step": self.current_step,
            "current_step_type": self.current_step_type,
            "total_steps": self.total_steps,
            "input": self.input,
            "output": self.output,
            "error": self.error or None,
            "error_type": self.error_type or None,
            "traceback": self.traceback or None,
            "reason": self.reason or None,
            "reason_code": self.reason_code or None,
            "partition_key": self.partition_key or None,
            "attempt": self.attempt,
            "owner": self.owner or None,
            "last_owner": self.last_processor or None,
            "version": self.version or None,
            "app_version": self.app_version or None,
            "waiting_for": None if self.waiting_for is None else self.waiting_for.to_json(),
            "workflow_state": dict(self.workflow_state),
            "created_at": to_rfc3339(self.created_at),
            "started_at": to_rfc3339(self.started_at),
            "updated_at": to_rfc3339(self.updated_at),
            "finished_at": to_rfc3339(self.finished_at),
            "parent_id": self.parent_id or None,
            "revision": self.revision,
            "schedule": self.schedule or None,
            "restarted_from": self.restarted_from or None,
            "restarted_as": self.restarted_as or None,
            "expires_at": to_rfc3339(self.expires_at),
        }
        if self.journal is not None:
            result["children"] = list(self.children)
            result["journal"] = [step.to_json() for step in self.journal]
            result["journal_start"] = self.journal_start
            result["journal_length"] = self.journal_length
            result["history"] = [dropped.to_json() for dropped in self.history or ()]
            result["unclaimed"] = [each.to_json() for each in self.unclaimed]
        return result


@dataclass(frozen=True)
class WorkflowPage:
    """Part of a list; ``total`` counts all matches. ``next_cursor`` is empty on the last page."""

    workflows: Sequence[WorkflowView]
    total: int
    next_cursor: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "workflows": [workflow.to_json() for workflow in self.workflows],
            "total": self.total,
            "next_cursor": self.next_cursor or None,
        }


@dataclass(frozen=True)
class StatsView:
    """How many invocations there are; every mapping holds only what exists, the most frequent first.

    ``statuses_of`` counts the statuses within each handler. ``oldest_active`` is the one that has been in its status
    for longest, of those that have not ended. ``completed_per_minute`` is that of the last five minutes.
    ``set_aside`` counts commands that could not be read and are kept apart.
    """

    total: int
    by_status: Mapping[str, int]
    by_handler: Mapping[str, int]
    statuses_of: Mapping[str, Mapping[str, int]]
    oldest_active: WorkflowView | None = None
    completed_per_minute: float = 0.0
    completed_per_minute_last_hour: float = 0.0
    set_aside: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "by_status": dict(self.by_status),
            "by_handler": dict(self.by_handler),
            "by_handler_status": {handler: dict(counts) for handler, counts in self.statuses_of.items()},
            "oldest_active": None if self.oldest_active is None else self.oldest_active.to_json(),
            "completed_per_minute": round(self.completed_per_minute, 2),
            "completed_per_minute_last_hour": round(self.completed_per_minute_last_hour, 2),
            "set_aside": self.set_aside,
        }


@dataclass(frozen=True)
class ProcessorView:
    """A live processor; ``slots`` and ``busy`` count workflows.

    ``blocked_since`` is 0 unless its event loop is blocked; then ``blocked_by`` names the step and the line.
    ``clock_error`` is by how many microseconds its machine is ahead of the server; negative where it is behind.
    """

    processor_id: str
    handlers: Sequence[str]
    version: str
    host: str
    process_id: int
    slots: int
    busy: int
    started_at: int
    blocked_since: int = 0
    blocked_by: str = ""
    clock_error: int = 0
    system_handlers: Sequence[str] = ()
    """Those of durablectl's own, which are not listed."""
    app_version: str = ""
    held: str = ""
    """A digest of the ids of what it runs."""

    def holds(self, invocation_id: str) -> bool | None:
        """Whether it says that it runs this workflow; None where it does not say what it runs."""
        return is_held(self.held, invocation_id)

    @property
    def all_handlers(self) -> list[str]:
        return [*self.handlers, *self.system_handlers]

    def runs(self, handler: str) -> bool:
        return handler in self.handlers or handler in self.system_handlers

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing more until a slot is free."""
        return 0 < self.slots <= self.busy

    @property
    def has_wrong_clock(self) -> bool:
        return abs(self.clock_error) > CLOCK_TOLERANCE

    def to_json(self) -> dict[str, Any]:
        return {
            "processor_id": self.processor_id,
            "handlers": list(self.handlers),
            "version": self.version or None,
            "app_version": self.app_version or None,
            "host": self.host or None,
            "process_id": self.process_id or None,
            "slots": self.slots,
            "busy": self.busy,
            "started_at": to_rfc3339(self.started_at),
            "blocked_since": to_rfc3339(self.blocked_since),
            "blocked_by": self.blocked_by or None,
            "full": self.is_full,
            "clock_error_seconds": round(self.clock_error / MICROSECONDS, 3),
        }


@dataclass(frozen=True)
class LostProcessorView:
    """A processor that died, or was silent, in the last hour; times in microseconds.

    ``lost_at`` is when it was heard of last. ``held`` counts the workflows that it ran then, of which ``held_ids`` are
    some. ``returned_at`` is 0 unless it was only silent.
    """

    processor_id: str
    handlers: Sequence[str]
    version: str
    host: str
    process_id: int
    started_at: int
    lost_at: int
    held: int
    held_ids: Sequence[str] = ()
    returned_at: int = 0
    app_version: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "processor_id": self.processor_id,
            "handlers": list(self.handlers),
            "version": self.version or None,
            "app_version": self.app_version or None,
            "host": self.host or None,
            "process_id": self.process_id or None,
            "started_at": to_rfc3339(self.started_at),
            "lost_at": to_rfc3339(self.lost_at),
            "held": self.held,
            "held_ids": list(self.held_ids),
            "returned_at": to_rfc3339(self.returned_at),
        }
