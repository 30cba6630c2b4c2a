"""From records to views, with the message types that decode their values."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.model.kinds import StepKind, WaitingFor, WaitKind
from durablectl.model.message_types import Schemas
from durablectl.model.status import Status, is_terminal
from durablectl.model.termination import started_children
from durablectl.query.views import DroppedView, StepView, UnclaimedView, WaitingView, WorkflowView
from durablectl.storage.records.message_types import load_schemas
from durablectl.storage.records.states import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from durablectl.model.incoming import Unclaimed
    from durablectl.model.records import DroppedSteps, Execution, JournalEntry, Payload, PendingWait
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.journal import JournalRange


_PAUSE_SECONDS = 0.5


def payloads(execution: Execution, entries: Sequence[JournalEntry]) -> Iterator[Payload]:
    """Every value of a record and its journal, for finding the message types among them."""
    yield execution.input
    yield execution.output
    yield from execution.workflow_state.values()
    for entry in entries:
        yield entry.request
        yield entry.response


class SchemaCache:
    """The message types that a follower has seen: it asks the server for new ones only, and outlives an outage."""

    def __init__(self, store: Store) -> None:
        self.schemas = Schemas()
        self._store = store
        self._types: set[str] = set()

    async def add(self, found: Iterable[Payload]) -> Schemas:
        """Those of all payloads so far; waits while the server is away."""
        types = {payload.type_name for payload in found} | self._types
        while types != self._types:
            try:
                self.schemas = await load_schemas(self._store, types)
            except UNREACHABLE:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._types = types
        return self.schemas


def workflow_view(
    execution: Execution,
    revision: int,
    schemas: Schemas,
    part: JournalRange | None = None,
    unclaimed: Sequence[Unclaimed] = (),
) -> WorkflowView:
    """The view of a record; with a ``part`` of its journal it shows that, and what is ``unclaimed``."""
    entries = None if part is None else part.entries
    journal = None if entries is None else [_step_view(entry, schemas) for entry in entries]
    return WorkflowView(
        invocation_id=execution.invocation_id,
        handler=execution.handler,
        status=execution.status,
        current_step=execution.current_step,
        current_step_type=execution.current_step_type,
        total_steps=max(execution.total_steps, len(execution.journal), part.length if part is not None else 0),
        input=schemas.to_json(execution.input),
        output=schemas.to_json(execution.output),
        error=execution.error,
        error_type=execution.error_type,
        traceback=execution.traceback,
        reason=execution.reason,
        partition_key=execution.partition_key,
        attempt=execution.attempt,
        owner=execution.owner,
        waiting_for=_waiting_view(execution.waiting_for),
        workflow_state={key: schemas.to_json(value) for key, value in sorted(execution.workflow_state.items())},
        created_at=execution.created_at,
        started_at=execution.started_at,
        updated_at=execution.updated_at,
        finished_at=execution.finished_at,
        parent_id=execution.parent_id,
        revision=revision,
        schedule=execution.schedule,
        restarted_from=execution.restarted_from,
        restarted_as=execution.restarted_as,
        expires_at=execution.expires_at if is_terminal(execution.status) else 0,
        reason_code=execution.reason_code,
        failed_step=execution.failed_step,
        failed_attempts=_failed_attempts(execution, entries),
        mismatch=execution.mismatch,
        children=started_children(entries or ()),
        journal=journal,
        journal_start=part.before if part is not None else 0,
        journal_length=part.length if part is not None else 0,
        waiting_kinds=execution.waiting_kinds,
        step_names=execution.step_names,
        retrying=_retrying(execution),
        failed_child=_failed_child(execution),
        last_processor=execution.owner or execution.last_owner,
        version=execution.version,
        app_version=execution.app_version,
        due_at=execution.due_at,
        history=None if entries is None else [_dropped_view(dropped, schemas) for dropped in execution.history],
        unclaimed=[_unclaimed_view(each, schemas) for each in unclaimed],
    )


def _retrying(execution: Execution) -> WaitingView | None:
    """The first of the steps that back off."""
    if WaitingFor.RETRY not in execution.waiting_kinds:
        return None
    waits = [execution.waiting_for, *execution.waits]
    return next((_waiting_view(each) for each in waits if each is not None and each.kind == WaitKind.RETRY), None)


def _failed_child(execution: Execution) -> str:
    """The id of the child that a workflow failed with, where the record holds its journal."""
    failed = execution.failed_step
    if failed is None or execution.status != Status.FAILED:
        return ""
    return next(
        (
            entry.awaited_id
            for entry in execution.journal
            if entry.step_number == failed.step_number and entry.kind == StepKind.CHILD
        ),
        "",
    )


def _failed_attempts(execution: Execution, entries: Sequence[JournalEntry] | None) -> int:
    if execution.failed_step is None:
        return 0
    number = execution.failed_step.step_number
    known = (each.attempts for each in entries or execution.journal if each.step_number == number)
    return next(known, 0)


def _waiting_view(waiting: PendingWait | None) -> WaitingView | None:
    if waiting is None:
        return None
    return WaitingView(
        waiting.kind,
        waiting.name,
        waiting.step_number,
        waiting.until,
        waiting.attempt,
        waiting.error,
        waiting.awaited_id,
        waiting.reason_code,
        waiting.since,
    )


def _dropped_view(dropped: DroppedSteps, schemas: Schemas) -> DroppedView:
    steps = [_step_view(entry, schemas) for entry in dropped.entries]
    return DroppedView(dropped.dropped_at, dropped.reason, steps)


def _unclaimed_view(unclaimed: Unclaimed, schemas: Schemas) -> UnclaimedView:
    return UnclaimedView(
        kind=unclaimed.kind,
        name=unclaimed.name,
        awakeable_id=unclaimed.awakeable_id,
        data=schemas.to_json(unclaimed.data),
        error=unclaimed.error,
        sent_at=unclaimed.sent_at,
    )


def _step_view(entry: JournalEntry, schemas: Schemas) -> StepView:
    return StepView(
        step_number=entry.step_number,
        step_type=entry.step_type,
        kind=entry.kind,
        request=schemas.to_json(entry.request),
        response=schemas.to_json(entry.response),
        error=entry.error,
        error_type=entry.error_type,
        attempts=entry.attempts,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        until=entry.until,
        awaited_id=entry.awaited_id,
        reason_code=entry.reason_code,
    )
