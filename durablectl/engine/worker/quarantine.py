"""What becomes of damage: commands that cannot be carried out are set aside, workflows without a journal stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.errors import DurableError
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status
from durablectl.model.termination import end_execution
from durablectl.storage.commands import command_queue
from durablectl.storage.index import index_entries
from durablectl.storage.transitions.end_writes import clean_up_end

if TYPE_CHECKING:
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.engine.worker.resources import Resources
    from durablectl.errors import UnreadableError
    from durablectl.model.records import Execution
    from durablectl.storage.commands.pulls import Delivery
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


async def quarantine_command(store: Store, delivery: Delivery, why: str) -> None:
    """Keep a command out of the way, with the reason, and go on with the others."""
    if not delivery.sequence:  # A takeover, for which no command was there.
        _log.error("Left as it is: %s", why)
        return
    try:
        await command_queue.quarantine(store, delivery.sequence, delivery.subject, delivery.data, why)
    except DurableError as error:
        _log.warning("A command that cannot be carried out could not be set aside: %s", error)
        await delivery.nak(_RETRY_SECONDS)
    else:
        _log.error("Set aside the command %d on %s: %s", delivery.sequence, delivery.subject, why)
        await delivery.ack()


async def stop_unreadable(
    resources: Resources, ownership: Ownership, error: UnreadableError, about: dict[str, str]
) -> None:
    """Pause a claimed invocation whose journal cannot be read; one that is being cancelled ends, and says so."""
    store, now = resources.store, resources.clock.now()
    if ownership.execution.cancel_requested:

        def change(execution: Execution) -> None:
            end_execution(execution, Status.CANCELLED, now, journal_length=max(1, execution.total_steps))
            execution.error = f"No compensation was run: {error.message}"
            execution.error_type = type(error).__name__

        execution = await ownership.write(change)
        await clean_up_end(store, execution, ownership.revision, [])
        _log.error("Cancelled. %s", execution.error, extra=about)
        return

    def pause(execution: Execution) -> None:
        execution.enter_status(Status.PAUSED, now)
        execution.owner, execution.waiting_for = "", None
        execution.set_reason(ReasonCode.UNREADABLE, error.message)
        # Nobody knows how many: a cancellation is left to a processor.
        execution.compensations = max(1, execution.compensations)

    execution = await ownership.write(pause)
    await index_entries.update_entry(store, execution)
    _log.error("Paused: %s", error.message, extra=about)
