"""How a run leaves its invocation: ended, suspended, paused, or handed back. Dying anywhere here can be repeated."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import Overtaken, Paused
from durablectl.engine.worker.claim import EARLY_MICROSECONDS
from durablectl.errors import PayloadTooLargeError
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.status import Status, is_terminal
from durablectl.model.termination import FOLD_LIMIT_BYTES, end, interrupted_children
from durablectl.model.text import message_of, storable
from durablectl.storage.commands.wake import timer, timer_removal, wake, wake_timer
from durablectl.storage.index import index_entries
from durablectl.storage.records.consistent_reads import load_many_known
from durablectl.storage.transitions.end_writes import after_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, Payload, PendingWait


async def complete(run: Run, output: Payload) -> Execution:
    """End as completed; as failed when the server cannot hold the output."""
    try:
        return await _end(run, Status.COMPLETED, output=output)
    except PayloadTooLargeError as error:
        message = f"The output of {len(output.data):,} bytes cannot be stored: {error.message}"
        return await _end_somehow(run, Status.FAILED, error=message, error_type=type(error).__name__)


async def fail(run: Run, error: BaseException) -> Execution:
    """End as failed, with the message and the traceback of what the handler raised."""
    limit = run.store.record_headroom // 8
    trace = storable("".join(_without_engine_frames(traceback.TracebackException.from_exception(error)).format()), None)
    return await _end_somehow(
        run,
        Status.FAILED,
        error=message_of(error, limit),
        error_type=type(error).__name__,
        trace=trace[-2 * limit :],
    )


async def cancel(run: Run, error: str = "") -> Execution:
    """End as cancelled; ``error`` tells of a compensation that failed."""
    return await _end_somehow(run, Status.CANCELLED, error=error, error_type="CompensationFailed" if error else "")


async def _end_somehow(
    run: Run, status: Status, *, error: str = "", error_type: str = "", trace: str = ""
) -> Execution:
    """Without the workflow's state and what it was answered, if the record has no room for them."""
    try:
        return await _end(run, status, error=error, error_type=error_type, trace=trace)
    except PayloadTooLargeError:
        run.workflow_state = {}
        run.ownership.execution.awakeables = {}
        return await _end(run, status, error=error, error_type=error_type, trace=trace)


async def suspend(run: Run, waits: list[PendingWait], known_revision: int) -> Execution:
    """Store what is waited for, and let go of slot and memory. Overtaken when an answer has come in meanwhile.

    ``known_revision`` is that of the state in which nothing of it had come in. The timer is set first: dying after it
    costs a needless wake. What comes in before the state is written changes the state, so that the write fails; a child
    that ends meanwhile, or a timer that fires, is looked for afterwards.
    """
    known = run.ownership.execution
    moments = [moment for moment in (waits[0].until, run.deadline) if moment]

    def change(execution: Execution) -> None:
        if run.ownership.revision != known_revision:
            raise Overtaken
        _leave(run, execution, Status.SUSPENDED)
        execution.waits = waits
        execution.deadline = run.deadline
        execution.timer_attempt = run.attempt if moments else 0
        execution.waiting_for = waits[0]
        execution.current_step, execution.current_step_type = waits[0].step_number, waits[0].name
        execution.signals = [s for s in execution.signals if s.number not in run.received_signals]
        for answer in execution.awakeables.values():
            if any(e.awaited_id == answer.awakeable_id and e.finished_at for e in run.entries.values()):
                answer.result = NO_PAYLOAD

    if moments:
        await run.store.requests.exchange([timer(run.store, known, min(moments), wake_timer(run.attempt))])
    execution = await _write(run, change)
    earlier = known.timer_attempt
    await index_entries.settle(
        run.store,
        execution,
        [timer_removal(run.store, run.invocation_id, wake_timer(earlier))] if earlier else [],
    )
    children = [waiting.awaited_id for waiting in waits if waiting.kind == "child"]
    found = await load_many_known(run.store, children, run.invocation_id, run.ownership.revision)
    has_fired = bool(moments) and min(moments) <= run.clock.now() + EARLY_MICROSECONDS
    if has_fired or any(is_terminal(stored.execution.status) for stored in found.values()):
        await run.store.requests.exchange([wake(run.store, execution)])
    return execution


async def pause(run: Run, reason: str) -> Execution:
    """Stop for the operator; the journal stays where it is."""

    def change(execution: Execution) -> None:
        _leave(run, execution, Status.PAUSED)
        execution.reason = reason
        execution.waiting_for = None

    execution = await _write(run, change)
    await index_entries.settle(run.store, execution)
    return execution


async def let_go(run: Run) -> None:
    """An operator's pause: the step in flight has ended. Overtaken when it was resumed meanwhile.

    The operator, who enters it in the index, may have died before that.
    """

    def change(execution: Execution) -> None:
        if execution.status != Status.PAUSED:
            raise Overtaken
        _leave(run, execution, Status.PAUSED)
        execution.current_step, execution.current_step_type = -1, ""
        execution.waiting_for = None

    await index_entries.settle(run.store, await _write(run, change))


async def hand_back(run: Run) -> None:
    """Back to pending, for another processor, which a new command calls at once.

    Handing the old command back would not do: nats-server forgets that when it is restarted.
    """

    def change(execution: Execution) -> None:
        status = Status.PAUSED if execution.status == Status.PAUSED else Status.PENDING
        _leave(run, execution, status)

    execution = await _write(run, change)
    if execution.status == Status.PENDING:
        await index_entries.settle(run.store, execution, [wake(run.store, execution)])


def _leave(run: Run, execution: Execution, status: Status) -> None:
    if (execution.status, status) != (Status.PAUSED, Status.PAUSED):
        execution.enter(status, run.clock.now())
    execution.owner = ""
    execution.total_steps = max(execution.total_steps, len(run.entries))
    execution.workflow_state = dict(run.workflow_state)
    execution.compensations = len(run.deferred)


async def _end(
    run: Run,
    status: Status,
    *,
    output: Payload = NO_PAYLOAD,
    error: str = "",
    error_type: str = "",
    trace: str = "",
) -> Execution:
    held = await run.recording.take()
    entries = [run.entries[number] for number in sorted(run.entries)]
    encoded = [entry.encoded for entry in entries]
    folded = encoded if sum(map(len, encoded)) <= FOLD_LIMIT_BYTES else []
    if held is not None and not folded:
        await run.recording.append(held)
        held = None

    def change(execution: Execution) -> None:
        if status != Status.CANCELLED and execution.cancel_requested:
            raise Overtaken
        if status != Status.CANCELLED and execution.status == Status.PAUSED:
            raise Paused
        end(execution, status, run.clock.now(), unfolded=0 if folded else len(entries))
        execution.expires_at = execution.finished_at + run.resources.retention if run.resources.retention else 0
        execution.total_steps = max([run.total, *(number + 1 for number in run.entries)])
        execution.workflow_state = dict(run.workflow_state)
        execution.output = output
        execution.error, execution.error_type, execution.traceback = error, error_type, trace

    await run.recording.describe_types()
    try:
        try:
            execution = await _write(run, change, folded)
        except PayloadTooLargeError:
            if not folded:
                raise
            folded = []
            if held is not None:
                await run.recording.append(held)
                held = None
            execution = await _write(run, change)
    except (Overtaken, Paused):
        if held is not None:
            await run.recording.append(held)
        raise
    run.metrics.ended[status] += 1
    children = interrupted_children(entries) if status != Status.COMPLETED else []
    held_number = -1 if held is None else held.step_number
    await after_end(run.store, execution, run.ownership.revision, entries, children, unstored=held_number)
    return execution


async def _write(run: Run, change: Callable[[Execution], None], folded: list[bytes] | None = None) -> Execution:
    run.waits.close()
    await run.recording.flush()
    await run.position.close()
    return await run.ownership.write(change, folded or [])


def _without_engine_frames(error: traceback.TracebackException) -> traceback.TracebackException:
    """Show the app's own code only, in the error and in those that caused it."""
    ours = str(Path(__file__).parent)
    error.stack = traceback.StackSummary.from_list([f for f in error.stack if not f.filename.startswith(ours)])
    for other in (error.__cause__, error.__context__):
        if other is not None:
            _without_engine_frames(other)
    return error
