"""The claim of an invocation: one compare-and-set decides which processor runs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from durablectl.engine.replay.ownership import Ownership
from durablectl.engine.worker.wake_conditions import EARLY_US, is_due, wake_times
from durablectl.model.kinds import CommandKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.model.termination import interrupted_children
from durablectl.model.validation import check_execution
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.commands.wake import START_TIMER, wake_timer_name, wake_timer_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases, states
from durablectl.storage.records.consistent_reads import is_stale, sync_clock
from durablectl.storage.records.states import StoredState
from durablectl.storage.transitions import cancel_request
from durablectl.storage.transitions.end_writes import clean_up_end, inline_journal
from durablectl.storage.transitions.start_writes import first_state

if TYPE_CHECKING:
    from durablectl.engine.worker.resources import Resources
    from durablectl.model.records import Command, Execution
    from durablectl.storage.commands.pulls import Delivery

_RELOAD_SECONDS = (0.0, 0.003)
"""Whoever starts a workflow writes its state right after the command: writing it for them at once costs both more."""


class Claim(NamedTuple):
    """``crashed`` tells that the processor that ran it before died on it."""

    ownership: Ownership
    crashed: bool


async def claim(resources: Resources, command: Command, delivery: Delivery) -> Claim | None:
    """Make this processor the owner; None when there is nothing to do for it, and the command is done with.

    Dying before the write changes nothing: the command comes again. Dying after it leaves a running invocation whose
    owner is gone, which the redelivered command takes over.
    """
    while True:
        claimed, stored = await _claim(resources, command, delivery)
        if claimed is not None:
            return claimed
        # Without this command nobody would look again: a replica that lags must not have answered.
        if not await is_stale(resources.store, command.invocation_id, stored):
            break
    if stored is not None:
        is_suspect = delivery.attempt > 1 or command.kind == CommandKind.WAKE
        if is_suspect or _lacks_expiry(resources, stored.execution):
            await complete_writes(resources, stored)
    return None


async def _claim(resources: Resources, command: Command, delivery: Delivery) -> tuple[Claim | None, StoredState | None]:
    """The claim, or the state for which there is nothing to do."""
    store = resources.store
    pauses = iter(_RELOAD_SECONDS if delivery.attempt == 1 else ())
    while True:
        stored, deleted_start = await states.load_or_tombstone(store, command.invocation_id)
        if stored is None:
            if command.kind != CommandKind.START or (deleted_start and command.start_token == deleted_start):
                return None, None
            if (pause := next(pauses, None)) is not None:
                await asyncio.sleep(pause)
                continue
            execution, revision = first_state(command), 0
            await store.requests.exchange(index_entries.addition(store, execution))
        else:
            execution, revision = stored
            check_execution(execution)
            _fill_in_input(execution, command)
            if not await _may_claim(resources, execution, command, delivery):
                return None, stored
        before = (execution.index_group, execution.indexed_at)
        is_again = execution.status == Status.RUNNING
        crashed = is_again and execution.owner not in {"", resources.processor_id}
        _mark_claimed(resources, execution, command, delivery)
        if revision == 0:
            new_revision = await states.create(store, execution)
        else:
            new_revision = await states.replace(store, execution, revision)
        if new_revision is not None:
            # What ran it before may have died between its last write of the state and that of the index.
            if is_again or (execution.index_group, execution.indexed_at) != before:
                await index_entries.update_entry(store, execution)
            return Claim(Ownership(store, execution, new_revision), crashed), stored


def _fill_in_input(execution: Execution, command: Command) -> None:
    """A state that another implementation has created knows its input from the command only."""
    if command.kind == CommandKind.START and not (execution.attempt or execution.start_token or execution.input.data):
        execution.input = command.input
        execution.created_at = execution.created_at or command.created_at


def _mark_claimed(resources: Resources, execution: Execution, command: Command, delivery: Delivery) -> None:
    now = resources.clock.now()
    execution.mark_started(now)
    execution.owner, execution.last_owner = resources.processor_id, ""
    execution.version, execution.app_version = resources.version, resources.app_version
    execution.attempt += 1
    execution.started_at = execution.started_at or now
    execution.command_sequence = delivery.sequence
    execution.waiting_for = None
    if command.kind == CommandKind.CANCEL:
        execution.request_cancellation(ReasonCode.CANCELLED_WITH_PARENT, command.reason or cancel_request.BY_PARENT)
    elif not execution.cancel_requested:
        execution.set_reason()


async def _may_claim(resources: Resources, execution: Execution, command: Command, delivery: Delivery) -> bool:
    if _is_other_start(command, execution):
        return False
    is_free = not execution.owner and execution.status in {Status.PENDING, Status.SUSPENDED, Status.PAUSED}
    if command.kind == CommandKind.CANCEL and is_free:
        return True
    match execution.status:
        case Status.PENDING:
            return await _is_start_due(resources, execution, delivery)
        case Status.SUSPENDED:
            return await _is_resume_due(resources, execution, delivery)
        case Status.RUNNING | Status.PAUSED if execution.status == Status.RUNNING or execution.owner:
            return await _may_take_over(resources, execution, command, delivery)
        case _:
            return False


async def _may_take_over(resources: Resources, execution: Execution, command: Command, delivery: Delivery) -> bool:
    """Whether its owner is gone: its lease says so, or its own command was delivered again."""
    is_running = execution.status == Status.RUNNING
    if is_running and execution.owner == resources.processor_id:
        return True  # Ours, and not in work: an earlier try of this process ended in the middle.
    if is_running and delivery.attempt > 1 and delivery.sequence == execution.command_sequence:
        return True
    if await leases.is_alive(resources.store, execution.owner):
        if command.kind == CommandKind.CANCEL:
            await cancel_request.request_child_cancel(resources.store, command.invocation_id, command.reason)
        await notify_processor(resources.store, execution.owner, execution.invocation_id)
        return False
    return is_running or command.kind == CommandKind.CANCEL


async def _is_start_due(resources: Resources, execution: Execution, delivery: Delivery) -> bool:
    """Whether a delayed start is due; if not, its timer is set again."""
    await _check_clock(resources, execution.start_at, delivery)
    if execution.start_at <= resources.clock.now() + EARLY_US:
        return True
    await resources.store.requests.exchange(
        [wake_timer_request(resources.store, execution, execution.start_at, START_TIMER)]
    )
    return False


async def _is_resume_due(resources: Resources, execution: Execution, delivery: Delivery) -> bool:
    """Whether a suspended workflow is resumed; if not, its timer is set again: the one that fired is gone."""
    store = resources.store
    times = wake_times(execution.waits, execution.deadline)
    await _check_clock(resources, min(times, default=0), delivery)
    if await is_due(store, execution, resources.clock.now()):
        return True
    if times:
        name = wake_timer_name(execution.timer_attempt or execution.attempt)
        await store.requests.exchange([wake_timer_request(store, execution, min(times), name)])
    return False


async def _check_clock(resources: Resources, due_us: int, delivery: Delivery) -> None:
    """Ask the server for its time where it, storing the command, and our clock disagree whether ``due_us`` has come."""
    begin = due_us - EARLY_US
    if delivery.timestamp_us and (delivery.timestamp_us < begin) != (resources.clock.now() < begin):
        await sync_clock(resources.store)


def _is_other_start(command: Command, execution: Execution) -> bool:
    """A start of the same id that came second, or any command for another handler's invocation."""
    return command.handler != execution.handler or bool(
        command.kind == CommandKind.START
        and command.start_token
        and execution.start_token
        and command.start_token != execution.start_token
    )


async def complete_writes(resources: Resources, stored: StoredState) -> None:
    """Make the writes that follow the last state write: its writer may have died before. Repeating changes nothing."""
    store = resources.store
    if not is_terminal(stored.execution.status):
        await index_entries.update_entry(store, stored.execution)
        return
    execution, revision = await _set_expiry(resources, stored)
    if execution.expires_at:
        # Again, if need be: who set the time may have died before the entry had it, and an entry alone would stay.
        await store.requests.exchange(index_entries.expiry(store, execution))
    entries = await inline_journal(store, execution, revision) if execution.journal_length else execution.journal
    children = [] if execution.status == Status.COMPLETED else interrupted_children(entries)
    await clean_up_end(store, execution, revision, entries, children)


async def _set_expiry(resources: Resources, stored: StoredState) -> StoredState:
    """Set the time to live of a workflow that an operator ended, without a processor."""
    execution, revision = stored
    if not _lacks_expiry(resources, execution):
        return stored
    execution.expires_at = resources.clock.now() + resources.retention_of(execution.handler)
    return StoredState(execution, await states.replace(resources.store, execution, revision) or revision)


def _lacks_expiry(resources: Resources, execution: Execution) -> bool:
    keeps = resources.retention_of(execution.handler)
    return is_terminal(execution.status) and keeps > 0 and not execution.expires_at
