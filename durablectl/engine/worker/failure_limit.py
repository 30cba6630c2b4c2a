"""Invocations on which the engine itself fails: counted, and paused where another delivery does not help."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import EngineFailed, StorageFailed
from durablectl.engine.worker.quarantine import quarantine_command
from durablectl.errors import PayloadTooLargeError, PermissionDeniedError, UnreadableError
from durablectl.model.kinds import CommandKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.model.text import message_of, storable
from durablectl.model.tracebacks import author_traceback
from durablectl.storage.connection.rejections import StorageFullError
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from durablectl.storage.transitions.start_writes import first_state

if TYPE_CHECKING:
    from durablectl.engine.worker.resources import Resources
    from durablectl.model.records import Command, Execution
    from durablectl.storage.commands.pulls import Delivery
    from durablectl.storage.records.states import StoredState

_log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""Failures in a row, without a step recorded in between, after which the workflow is paused."""

MAX_DELIVERIES = 10
"""Deliveries of one command, to whichever processors, after which two such failures on one processor are enough."""

_LONGEST_PAUSE_SECONDS = 60.0

_REMEMBERED = 10_000
_SHOWN = 1000


def is_passing(error: BaseException) -> bool:
    """Whether the store may do later what it did not do now: then the command is delivered again without a limit."""
    error = cause_of(error)
    return isinstance(error, (StorageFullError, *states.UNREACHABLE)) and not isinstance(error, PermissionDeniedError)


def is_too_often(failures: int, deliveries: int) -> bool:
    """Whether another delivery is pointless. ``failures`` are those of this processor, ``deliveries`` those of all."""
    return failures >= MAX_FAILURES or (failures > 1 and deliveries >= MAX_DELIVERIES)


def pause_seconds(failures: int, seconds: float) -> float:
    """How long to wait before the next delivery: ``seconds``, and twice as long for each failure beyond the limit."""
    return float(min(_LONGEST_PAUSE_SECONDS, seconds * 2 ** min(max(0, failures - MAX_FAILURES), 30)))


def cause_of(error: BaseException) -> BaseException:
    """What was raised, without what carried it out of the handler."""
    return error.error if isinstance(error, (EngineFailed, StorageFailed)) else error


class FailureLimit:
    """The failures of the invocations of one processor, by invocation id."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, int]] = {}

    def count(self, invocation_id: str, recorded: int) -> int:
        """Count a failure; how many there have been since more steps were recorded. ``recorded`` is how many are."""
        most, failures = self._counted.pop(invocation_id, (recorded, 0))
        failures = failures + 1 if recorded <= most else 1
        self._counted[invocation_id] = (max(most, recorded), failures)
        if len(self._counted) > _REMEMBERED:
            del self._counted[next(iter(self._counted))]
        return failures

    def forget(self, invocation_id: str) -> None:
        """Note that a command of this invocation was carried out."""
        self._counted.pop(invocation_id, None)


async def give_up(
    resources: Resources,
    command: Command,
    delivery: Delivery,
    error: BaseException,
    *,
    failures: int,
    compensations: int,
) -> None:
    """Pause the invocation with the reason and the traceback; set the command aside where that is impossible.

    Raises DurableError when the store is out of reach. ``failures`` counts those of this processor, ``compensations``
    what was registered.
    """
    cause = cause_of(error)
    said = f"{type(cause).__name__}: {message_of(cause, _SHOWN)}"
    of_all = f", in {delivery.attempt} deliveries to it and others" if failures < MAX_FAILURES else ""
    reason = f"durablectl failed on it {min(failures, MAX_FAILURES)} times{of_all}: {said}"
    if command.kind == CommandKind.FIRE:
        await quarantine_command(resources.store, delivery, reason)
        return
    try:
        is_paused = await _pause(resources, command, reason, cause, compensations)
    except (UnreadableError, PayloadTooLargeError) as unpaused:
        await quarantine_command(resources.store, delivery, f"{reason}; it cannot be paused: {unpaused.message}")
        return
    if is_paused:
        about = {"invocation_id": command.invocation_id, "handler": command.handler}
        _log.error("Paused: %s.", reason, exc_info=cause, extra=about)
    await delivery.ack()


async def _pause(resources: Resources, command: Command, reason: str, error: BaseException, compensations: int) -> bool:
    """Pause by compare-and-set; False where there is nothing to pause: it ended, was deleted, or is another's."""
    store = resources.store
    limit = store.record_headroom // 4
    while True:
        stored, deleted_start = await states.load_or_tombstone(store, command.invocation_id)
        if stored is None:
            if command.kind != CommandKind.START or (deleted_start and command.start_token == deleted_start):
                return False
            execution, revision = first_state(command), 0
        else:
            execution, revision = stored
            if not _is_to_pause(resources, stored):
                return False
        execution.enter_status(Status.PAUSED, resources.clock.now())
        execution.owner, execution.waiting_for = "", None
        execution.compensations = max(execution.compensations, compensations)
        code = ReasonCode.TOO_LARGE if isinstance(error, PayloadTooLargeError) else ReasonCode.ENGINE_FAILED
        execution.set_reason(code, reason)
        execution.traceback = storable(author_traceback(error), None)[-limit:]
        if revision == 0:
            is_written = await states.create(store, execution) is not None
        else:
            is_written = await _replace(resources, execution, revision)
        if is_written:
            await index_entries.update_entry(store, execution)
            return True


def _is_to_pause(resources: Resources, stored: StoredState) -> bool:
    execution = stored.execution
    if is_terminal(execution.status):
        return False
    is_ours = execution.owner in {"", resources.processor_id}
    return is_ours and (execution.status != Status.PAUSED or bool(execution.owner))


async def _replace(resources: Resources, execution: Execution, revision: int) -> bool:
    try:
        return await states.replace(resources.store, execution, revision) is not None
    except PayloadTooLargeError:
        execution.traceback = ""
        return await states.replace(resources.store, execution, revision) is not None
