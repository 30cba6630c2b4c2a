"""Taking an invocation up: one compare-and-set decides who runs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.engine.ownership import Ownership
from durablectl.model.codec import encode_entry
from durablectl.model.records import Execution, pending
from durablectl.model.status import Status, is_terminal
from durablectl.storage import index, journal, leases, states

if TYPE_CHECKING:
    from durablectl.engine.resources import Resources
    from durablectl.model.records import Command
    from durablectl.storage.pulls import Delivery
    from durablectl.storage.states import Stored

_log = logging.getLogger(__name__)


async def claim(resources: Resources, command: Command, delivery: Delivery) -> Ownership | None:
    """Make this processor the owner; None when there is nothing to do for it, and the command is done with.

    Dying before the write changes nothing: the command comes again. Dying after it leaves a running invocation whose
    owner is gone, which the redelivered command takes over.
    """
    store = resources.store
    while True:
        stored = await states.load(store, command.invocation_id)
        if stored is None:
            if command.kind != "start":
                return None
            execution, revision = pending(command), 0
            await store.requests.exchange([index.addition(store, execution)])
        else:
            execution, revision = stored
            if not await _may_claim(resources, stored, command, delivery):
                return None
        was_claimed_before = execution.attempt > 0
        _take(resources, execution, delivery)
        if revision == 0:
            new_revision = await states.create(store, execution)
        else:
            inside = [encode_entry(entry) for entry in execution.journal]
            new_revision = await states.replace(store, execution, revision, inside)
        if new_revision is not None:
            if was_claimed_before:
                _log.info("Taken over at attempt %d.", execution.attempt, extra=_about(execution))
            return Ownership(store, execution, new_revision)


def _take(resources: Resources, execution: Execution, delivery: Delivery) -> None:
    now = resources.clock.now()
    execution.enter(Status.RUNNING, now)
    execution.owner = resources.processor_id
    execution.attempt += 1
    execution.started_at = execution.started_at or now
    execution.command_sequence = delivery.sequence
    execution.waiting_for = None
    execution.reason = ""


async def _may_claim(resources: Resources, stored: Stored, command: Command, delivery: Delivery) -> bool:
    execution = stored.execution
    if _is_other_start(command, execution):
        return False
    if execution.status == Status.PENDING:
        return True
    if execution.status == Status.RUNNING:
        redelivered = delivery.attempt > 1 and delivery.sequence == execution.command_sequence
        return redelivered or not await leases.is_alive(resources.store, execution.owner)
    if delivery.attempt > 1:
        await tidy(resources, execution)
    return False


def _is_other_start(command: Command, execution: Execution) -> bool:
    """A start of the same id that came second."""
    return bool(
        command.kind == "start"
        and command.start_token
        and execution.start_token
        and command.start_token != execution.start_token
    )


async def tidy(resources: Resources, execution: Execution) -> None:
    """Finish what a processor may have left undone after its last state write; doing it again changes nothing."""
    store = resources.store
    writes = index.settlement(store, execution)
    if is_terminal(execution.status) and not execution.journal_length:
        writes += journal.removal(store, execution.invocation_id, execution.total_steps)
    await store.requests.exchange(writes)


def _about(execution: Execution) -> dict[str, str]:
    return {"invocation_id": execution.invocation_id, "handler": execution.handler}
