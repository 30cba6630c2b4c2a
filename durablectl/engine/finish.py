"""How a run ends: fold the journal, write the last state, move the index entry, purge what is no longer needed."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from durablectl.errors import PayloadTooLargeError
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.status import Status
from durablectl.storage import index, journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.resources import Resources
    from durablectl.engine.run import Run
    from durablectl.model.records import Execution, Payload

FOLD_LIMIT_BYTES = 256 * 1024


async def complete(resources: Resources, run: Run, output: Payload) -> Execution:
    """End as completed; as failed when the server cannot hold the output."""
    try:
        return await _end(resources, run, Status.COMPLETED, output=output)
    except PayloadTooLargeError as error:
        run.workflow_state = {}
        message = f"The output of {len(output.data):,} bytes cannot be stored: {error.message}"
        return await _end(resources, run, Status.FAILED, error=message, error_type=type(error).__name__)


async def fail(resources: Resources, run: Run, error: BaseException) -> Execution:
    """End as failed, with the message and the traceback of what the handler raised."""
    trace = "".join(_without_engine_frames(traceback.TracebackException.from_exception(error)).format())
    limit = resources.store.record_headroom // 8
    return await _end(
        resources,
        run,
        Status.FAILED,
        error=str(error)[:limit] or type(error).__name__,
        error_type=type(error).__name__,
        trace=trace[-2 * limit :],
    )


async def pause(resources: Resources, run: Run, reason: str) -> Execution:
    """Stop for the operator; the journal stays where it is."""

    def change(execution: Execution) -> None:
        execution.enter(Status.PAUSED, resources.clock.now())
        execution.reason = reason
        execution.waiting_for = None
        execution.total_steps = max(execution.total_steps, len(run.entries))

    execution = await _write(run, change)
    await resources.store.requests.exchange(index.settlement(resources.store, execution))
    return execution


async def hand_back(resources: Resources, run: Run) -> None:
    """Back to pending, for another processor."""

    def change(execution: Execution) -> None:
        execution.enter(Status.PENDING, resources.clock.now())
        execution.total_steps = max(execution.total_steps, len(run.entries))

    await _write(run, change)


async def _end(
    resources: Resources,
    run: Run,
    status: Status,
    *,
    output: Payload = NO_PAYLOAD,
    error: str = "",
    error_type: str = "",
    trace: str = "",
) -> Execution:
    folded = _foldable(run)

    def change(execution: Execution) -> None:
        now = resources.clock.now()
        execution.enter(status, now)
        execution.finished_at = now
        execution.current_step = -1
        execution.current_step_type = ""
        execution.waiting_for = None
        execution.total_steps = run.total
        execution.workflow_state = dict(run.workflow_state)
        execution.output = output
        execution.error, execution.error_type, execution.traceback = error, error_type, trace
        execution.journal_length = 0 if folded or not run.entries else len(run.entries)

    await run.describe_types()
    try:
        execution = await _write(run, change, folded)
    except PayloadTooLargeError:
        if not folded:
            raise
        folded = []
        execution = await _write(run, change)
    store = resources.store
    length = len(folded) and run.total
    await store.requests.exchange(
        [*index.settlement(store, execution), *journal.removal(store, run.invocation_id, length)]
    )
    return execution


async def _write(run: Run, change: Callable[[Execution], None], folded: list[bytes] | None = None) -> Execution:
    await run.position.close()
    return await run.ownership.write(change, folded or [])


def _foldable(run: Run) -> list[bytes]:
    entries = sorted(run.entries, key=lambda entry: entry.step_number)
    encoded = [entry.encoded for entry in entries]
    return encoded if sum(map(len, encoded)) <= FOLD_LIMIT_BYTES else []


def _without_engine_frames(error: traceback.TracebackException) -> traceback.TracebackException:
    """Show the app's own code only, in the error and in those that caused it."""
    ours = str(Path(__file__).parent)
    error.stack = traceback.StackSummary.from_list([f for f in error.stack if not f.filename.startswith(ours)])
    for other in (error.__cause__, error.__context__):
        if other is not None:
            _without_engine_frames(other)
    return error
