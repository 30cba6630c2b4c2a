"""Retrying an ended workflow, or restarting it with the same input; ``if_revision`` as in lifecycle."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.control.audit_trail import audited, record_change
from durablectl.control.operation_result import DIRECT, OperationResult, Origin, invalid_state_error, load_for_change
from durablectl.control.start import start_copy
from durablectl.errors import AlreadyExistsError, StaleRevisionError, UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import encode_entry
from durablectl.model.kinds import StepKind
from durablectl.model.names import new_invocation_id
from durablectl.model.operation_kinds import WAITS
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD, DroppedSteps
from durablectl.model.status import Status, is_terminal
from durablectl.model.termination import INLINE_LIMIT_BYTES, interrupted_children
from durablectl.model.termination import started_children as children_of
from durablectl.storage.commands.wake import fallback_timer_request, wake_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import journal, states

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.storage.connection.store import Store

_RETRIABLE = frozenset({Status.FAILED, Status.CANCELLED})


@audited("retry", "invocation_id", "from_step")
async def retry(
    store: Store,
    invocation_id: str,
    *,
    from_step: int | None = None,
    if_revision: int = 0,
    origin: Origin = DIRECT,
) -> OperationResult:
    """Go on from the first unfinished step, or from step ``from_step``; what is dropped is kept as history.

    A journal that is too big to be part of the record lies beside it: what is dropped is noted in the record first,
    then removed, then the workflow reopened. Whoever finds a note without a reopening goes on from there.
    Raises NotFoundError, InvalidStateError unless failed or cancelled, UsageError for a step that it never reached.
    """
    while True:
        execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
        if execution.status not in _RETRIABLE:
            if not is_terminal(execution.status):
                message = f"It has not ended, but is {execution.status}."
                if execution.attempt and execution.history:
                    return OperationResult(invocation_id, execution.status, changed=False, message=message)
            raise invalid_state_error(execution, "retried", "Only a failed or cancelled workflow can be retried.")
        entries = await journal.load_journal(store, execution, revision)
        half_done = _already_dropped(execution)
        entries = [entry for entry in entries if entry.step_number not in half_done]
        if from_step is not None and not 0 <= from_step <= len(entries):
            hint = f"Its steps are 0 to {len(entries) - 1}." if entries else "It has none."
            raise UsageError(f"The workflow {invocation_id} has no step {from_step}.", hint=hint)
        kept, dropped = split(entries, execution, from_step)
        await record_change(execution.handler)
        if dropped or not half_done:
            _add_to_history(execution, dropped)
        if execution.journal_length:
            noted = await states.replace(store, execution, revision)
            if noted is None:
                continue
            revision, if_revision = noted, if_revision and noted
            numbers = half_done.union(entry.step_number for entry in dropped)
            await store.requests.exchange(journal.entry_purge_requests(store, invocation_id, numbers, revision))
        _reopen(execution)
        origin.mark(execution)
        await store.requests.exchange([fallback_timer_request(store, execution)])
        inside = {entry.step_number for entry in execution.journal}
        inline_entries = [encode_entry(entry) for entry in kept if entry.step_number in inside]
        if await states.replace(store, execution, revision, inline_entries) is None:
            continue
        await index_entries.update_entry(store, execution, [wake_request(store, execution)])
        recorded = {entry.step_number for entry in kept if entry.finished_at or entry.kind not in WAITS}
        first = next(number for number in itertools.count() if number not in recorded)
        message = f"Retrying from step {first}.{_what_stays_undone(entries, recorded)}"
        return OperationResult(invocation_id, Status.PENDING, changed=True, message=message)


def split(
    entries: Sequence[JournalEntry], execution: Execution, from_step: int | None
) -> tuple[list[JournalEntry], list[JournalEntry]]:
    """The entries to keep and those to drop.

    What a cancellation interrupted or compensated is no result, whatever ``from_step`` says; children that were
    cancelled with the workflow are started anew. Without ``from_step``, a failed step that ended the workflow is
    unfinished, and so is whatever failed beside or after it.
    """
    children = {child.invocation_id for child in interrupted_children(entries)}
    anew = {
        e.step_number
        for e in entries
        if e.kind == StepKind.COMPENSATION
        or e.reason_code == ReasonCode.INTERRUPTED
        or children.intersection(children_of([e]))
    }
    if from_step is not None:
        anew.update(e.step_number for e in entries if e.step_number >= from_step)
    else:
        failed = execution.failed_step
        first_failed = failed.step_number if failed is not None else len(entries)
        anew.update(e.step_number for e in entries if e.error and e.step_number >= first_failed)
    return [e for e in entries if e.step_number not in anew], [e for e in entries if e.step_number in anew]


def _what_stays_undone(entries: Sequence[JournalEntry], kept: Collection[int]) -> str:
    """Say that results are kept although compensations have run: which steps these undid is known to the app only."""
    undone = [entry for entry in entries if entry.kind == StepKind.COMPENSATION and entry.finished_at]
    if not undone or not kept:
        return ""
    ran = "1 compensation has run" if len(undone) == 1 else f"{len(undone)} compensations have run"
    return f" {ran}, and the steps before it are not run again: retry with --from-step 0 to run all of them."


def _already_dropped(execution: Execution) -> set[int]:
    """The steps that a retry has noted as dropped since the end, if it died before it reopened the workflow."""
    if not execution.history or execution.history[-1].dropped_at <= execution.finished_at:
        return set()
    return {entry.step_number for entry in execution.history[-1].entries}


def _add_to_history(execution: Execution, dropped: list[JournalEntry]) -> None:
    reason = f"retried after: {execution.error or execution.reason or execution.status}"
    moment = max(SYSTEM_CLOCK.now(), execution.finished_at + 1)
    execution.history.append(DroppedSteps(moment, reason, list(dropped)))
    _shorten_history(execution.history)


def _reopen(execution: Execution) -> None:
    execution.enter_status(Status.PENDING, SYSTEM_CLOCK.now())
    execution.output = NO_PAYLOAD
    execution.error = execution.error_type = execution.error_class = execution.traceback = execution.owner = ""
    execution.error_details = b""
    execution.set_reason()
    execution.failed_step = None
    if not execution.journal_length:
        # Otherwise it tells the processor that entries of the journal must be kept longer than they were to.
        execution.expires_at = 0
    execution.finished_at = execution.crashes = execution.journal_length = 0
    execution.cancel_requested = False
    # Nobody but its handler knows how many: a cancellation that comes before it runs again leaves it to the handler.
    execution.compensations = 1 if execution.attempt else 0


def _shorten_history(history: list[DroppedSteps]) -> None:
    """Requests and results that would make the record too big are forgotten, the oldest first."""
    room = INLINE_LIMIT_BYTES // 2
    for dropped in reversed(history):
        room -= sum(len(entry.request.data) + len(entry.response.data) for entry in dropped.entries)
        if room < 0:
            dropped.entries = [replace(e, request=NO_PAYLOAD, response=NO_PAYLOAD) for e in dropped.entries]


@audited("restart", "invocation_id")
async def restart(
    store: Store, invocation_id: str, *, if_revision: int = 0, origin: Origin = DIRECT
) -> OperationResult:
    """A new invocation with the same input, linked with the old one. InvalidStateError unless it has ended.

    With ``if_revision`` the link is written first, so that of several at once one starts it; dying behind that leaves a
    link to what was never started, over which another restart writes. A job starts what the link names when it comes
    again.
    """
    if origin.job_id:
        return await _restart_for_job(store, invocation_id, origin)
    execution, revision = await load_for_change(store, invocation_id, if_revision)
    _require_ended(execution)
    await record_change(execution.handler)
    new_id = new_invocation_id()
    execution.restarted_as = new_id
    if if_revision and await states.replace(store, execution, revision) is None:
        raise StaleRevisionError(f"The workflow {invocation_id} was changed meanwhile; nothing was started.")
    await start_copy(store, execution, new_id)
    while not if_revision and is_terminal(execution.status):
        execution.restarted_as = new_id
        if await states.replace(store, execution, revision) is not None:
            break
        # Someone deleted it, retried it, or restarted it too: the new one runs in any case and names its origin.
        stored = await states.load(store, invocation_id)
        if stored is None:
            break
        execution, revision = stored
    return _restarted(invocation_id, new_id)


async def _restart_for_job(store: Store, invocation_id: str, origin: Origin) -> OperationResult:
    """Restart once, however often the job does this: link and mark are one write, and the link is what is started."""
    while True:
        execution, revision = await load_for_change(store, invocation_id)
        if origin.job_id in execution.changed_by_jobs and execution.restarted_as:
            break
        origin.check(execution)
        _require_ended(execution)
        execution.restarted_as = new_invocation_id()
        origin.mark(execution)
        await record_change(execution.handler)
        if await states.replace(store, execution, revision) is not None:
            break
    with contextlib.suppress(AlreadyExistsError):
        await start_copy(store, execution, execution.restarted_as)
    return _restarted(invocation_id, execution.restarted_as)


def _require_ended(execution: Execution) -> None:
    if not is_terminal(execution.status):
        raise invalid_state_error(execution, "restarted", "Only a workflow that has ended can be restarted.")


def _restarted(invocation_id: str, new_id: str) -> OperationResult:
    message = f"Started {new_id} with the input of {invocation_id}."
    return OperationResult(new_id, Status.PENDING, changed=True, message=message, restarted_from=invocation_id)
