"""Pausing, resuming, cancelling and deleting workflows.

Each operation is one compare-and-set, which is repeated on the newer state when another write was first. With
``if_revision`` it is done to that revision only, and raises StaleRevisionError for another.

Where an operation needs a processor, a timer is set before the write and a wake command published after it: dying in
between costs two seconds, not the workflow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.control.audit_trail import audited, record_change
from durablectl.control.operation_result import DIRECT, OperationResult, Origin, invalid_state_error, load_for_change
from durablectl.control.wait import wait_for_outcome, wait_until_listed
from durablectl.errors import ConflictError, InvalidStateError, StaleRevisionError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.model.termination import end_execution, interrupted_children
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.commands.wake import fallback_timer_request, wake_request
from durablectl.storage.diagnosis.abandoned import is_held
from durablectl.storage.index import index_entries
from durablectl.storage.records import journal, leases, states
from durablectl.storage.transitions import cancel_request
from durablectl.storage.transitions.end_writes import clean_up_end, inline_journal

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState


@audited("pause", "invocation_id")
async def pause(
    store: Store, invocation_id: str, reason: str = "", *, if_revision: int = 0, origin: Origin = DIRECT
) -> OperationResult:
    """No further step is started; one in flight ends and is journaled.

    Raises NotFoundError, and InvalidStateError for a workflow that has ended or is being cancelled.
    """
    while True:
        execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
        if is_terminal(execution.status):
            raise invalid_state_error(execution, "paused", "Only a workflow that has not ended can be paused.")
        if execution.cancel_requested:
            raise InvalidStateError(f"The workflow {invocation_id} is being cancelled and cannot be paused.")
        if execution.status == Status.PAUSED:
            return OperationResult(invocation_id, Status.PAUSED, changed=False, message="It was paused already.")
        is_running = execution.status == Status.RUNNING and bool(execution.owner)
        owner = execution.owner if is_running and await is_held(store, execution) else ""
        execution.enter_status(Status.PAUSED, SYSTEM_CLOCK.now())
        execution.owner = owner
        execution.set_reason(ReasonCode.PAUSED_BY_OPERATOR, reason)
        origin.mark(execution)
        await record_change(execution.handler)
        await store.requests.exchange([fallback_timer_request(store, execution)])
        if await states.replace(store, execution, revision) is None:
            continue
        await index_entries.update_entry(store, execution)
        message = "Paused."
        if owner:
            await notify_processor(store, owner, invocation_id)
            if execution.current_step >= 0:
                message = (
                    f"Paused; step {execution.current_step} {execution.current_step_type} is in flight and ends first."
                )
        return OperationResult(invocation_id, Status.PAUSED, changed=True, message=message)


@audited("resume", "invocation_id")
async def resume(store: Store, invocation_id: str, *, if_revision: int = 0, origin: Origin = DIRECT) -> OperationResult:
    """Go on from the journal. Raises NotFoundError, and InvalidStateError for a workflow that has ended."""
    while True:
        execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
        if is_terminal(execution.status):
            hint = "A failed or cancelled workflow goes on with `wf retry`."
            raise invalid_state_error(execution, "resumed", "" if execution.status == Status.COMPLETED else hint)
        if execution.status == Status.PENDING:
            await store.requests.exchange([wake_request(store, execution)])
        if execution.status != Status.PAUSED:
            message = f"It is not paused, but {execution.status}."
            return OperationResult(invocation_id, execution.status, changed=False, message=message)
        in_flight = await is_held(store, execution)
        execution.enter_status(Status.RUNNING if in_flight else Status.PENDING, SYSTEM_CLOCK.now())
        execution.set_reason()
        execution.crashes = 0
        execution.traceback = ""
        origin.mark(execution)
        await record_change(execution.handler)
        if not in_flight:
            execution.owner = ""
            await store.requests.exchange([fallback_timer_request(store, execution)])
        if await states.replace(store, execution, revision) is None:
            continue
        await index_entries.update_entry(store, execution)
        if in_flight:
            await notify_processor(store, execution.owner, invocation_id)
        else:
            await store.requests.exchange([wake_request(store, execution)])
        return OperationResult(invocation_id, execution.status, changed=True, message="Resumed.")


@audited("cancel", "invocation_id", "now")
async def cancel(
    store: Store,
    invocation_id: str,
    reason: str = "",
    *,
    now: bool = False,
    if_revision: int = 0,
    origin: Origin = DIRECT,
) -> OperationResult:
    """End it: interrupt the step in flight and run the compensations, or with ``now`` skip them.

    Raises NotFoundError, and InvalidStateError for a workflow that has completed or failed.
    """
    while True:
        stored = await load_for_change(store, invocation_id, if_revision, origin)
        execution = stored.execution
        if execution.status == Status.CANCELLED:
            return OperationResult(invocation_id, Status.CANCELLED, changed=False, message="It was cancelled already.")
        if is_terminal(execution.status):
            raise invalid_state_error(execution, "cancelled")
        if execution.cancel_requested and not now:
            await _notify_owner(store, execution)
            return OperationResult(
                invocation_id, execution.status, changed=False, message="It is being cancelled already."
            )
        origin.mark(execution)
        await record_change(execution.handler)
        has_run = execution.status == Status.RUNNING or bool(execution.owner)
        if now or not (has_run or execution.compensations):
            result = await _cancel_unowned(store, stored, reason)
        else:
            result = await _request_cancel(store, stored, reason)
        if result is not None:
            return result


@audited("delete", "invocation_id")
async def delete(store: Store, invocation_id: str, *, if_revision: int = 0, origin: Origin = DIRECT) -> OperationResult:
    """Remove an ended workflow with its journal and index entry. InvalidStateError for one that has not ended."""
    execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
    if not is_terminal(execution.status):
        raise invalid_state_error(execution, "deleted", "Cancel it first.")
    await record_change(execution.handler)
    if not await states.delete(store, execution, revision):
        kind = StaleRevisionError if if_revision else ConflictError
        raise kind(f"The workflow {invocation_id} was changed meanwhile; nothing was deleted.")
    length = max(execution.total_steps, execution.journal_length)
    await store.requests.exchange(
        [
            index_entries.removal(store, index_entries.index_subject(store.subjects, execution)),
            *(journal.purge_requests(store, invocation_id, length, revision) if execution.journal_length else []),
        ]
    )
    return OperationResult(invocation_id, "deleted", changed=True, message="Deleted.")


async def wait_until_cancelled(store: Store, result: OperationResult, timeout: float | None = None) -> OperationResult:
    """What came of a cancellation, once the compensations have run. WaitTimeoutError after ``timeout`` seconds."""
    if result.status == Status.CANCELLED:
        return result
    execution = (await wait_for_outcome(store, result.invocation_id, timeout)).execution
    await wait_until_listed(store, execution)
    message = f"Cancelled, but a compensation failed: {execution.error}" if execution.error else "Cancelled."
    return replace(result, status=execution.status, message=message)


async def _request_cancel(store: Store, stored: StoredState, reason: str) -> OperationResult | None:
    """Leave it to a processor: only the handler knows its compensations."""
    execution = stored.execution
    await store.requests.exchange([fallback_timer_request(store, execution)])
    if not await cancel_request.request_cancel(store, stored, ReasonCode.CANCELLED_BY_OPERATOR, reason):
        return None
    await _notify_owner(store, execution)
    return OperationResult(execution.invocation_id, Status.RUNNING, changed=True, message="Cancelling.")


async def _cancel_unowned(store: Store, stored: StoredState, reason: str) -> OperationResult | None:
    """End it without its handler. The journal is read after the write that fences its processor off."""
    execution, revision = stored
    owner, entries = execution.owner, execution.journal
    may_have_more = execution.attempt > 0
    journal_length = max(1, execution.total_steps) if may_have_more else 0
    end_execution(execution, Status.CANCELLED, SYSTEM_CLOCK.now(), journal_length=journal_length)
    execution.total_steps = max(execution.total_steps, len(entries))
    execution.set_reason(ReasonCode.CANCELLED_BY_OPERATOR, reason)
    execution.owner = ""
    await store.requests.exchange([fallback_timer_request(store, execution)])
    ended = await states.replace(store, execution, revision)
    if ended is None:
        return None
    if may_have_more:
        entries = await inline_journal(store, execution, ended)
    await clean_up_end(store, execution, ended, entries, interrupted_children(entries))
    if owner:
        await notify_processor(store, owner, execution.invocation_id)
    return OperationResult(execution.invocation_id, Status.CANCELLED, changed=True, message="Cancelled.")


async def _notify_owner(store: Store, execution: Execution) -> None:
    """Have a processor look: the one that runs it, or any."""
    if await leases.is_alive(store, execution.owner):
        await notify_processor(store, execution.owner, execution.invocation_id)
    else:
        await store.requests.exchange([wake_request(store, execution)])
