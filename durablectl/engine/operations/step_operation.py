"""Running one step to its end: attempts, back-off, and the journal entry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from durablectl.engine.replay.run import CANCELLED
from durablectl.errors import InvalidValueError, StepError, StepTimeoutError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.records import JournalEntry, PendingWait
from durablectl.model.values import encode_value, recorded

if TYPE_CHECKING:
    from durablectl.engine.operations.function_step import Attempt
    from durablectl.engine.replay.run import Run

TIMED_OUT = "TimeoutError"

APP_ERRORS = (Exception, asyncio.CancelledError, SystemExit)
"""Whatever an app's code raises is its own failure, sys.exit() included."""


async def perform(run: Run, number: int, attempt: Attempt) -> Any:
    """Run a step and journal its end; the value as a replay will see it, or StepError."""
    if not run.window.is_open(number):
        await run.window.wait(number)
    if run.recording.is_busy:
        await run.recording.flush()
        run.check_still_wanted()
    entry = JournalEntry(number, attempt.step_type, attempt.kind, started_at=run.clock.now())
    run.position.started(number, attempt.step_type)
    try:
        value = await _attempts(run, entry, attempt)
    except asyncio.CancelledError:
        if run.is_cancelling and not run.is_compensating and run.halted is None:
            entry.error, entry.error_type = "interrupted by a cancellation", CANCELLED
            entry.finished_at = run.clock.now()
            await run.recording.append(entry)
        raise
    finally:
        run.position.ended(number)
    entry.finished_at = run.clock.now()
    await run.recording.hold(entry)
    run.metrics.step(entry.kind, entry.finished_at - entry.started_at)
    run.consume(entry)
    if entry.error:
        raise step_error(entry) from (value if isinstance(value, BaseException) else None)
    return recorded(value, entry.response)


async def _attempts(run: Run, entry: JournalEntry, attempt: Attempt) -> Any:
    """Try until there is a result or no try left; the value, or the last exception."""
    earlier = run.retries.pop(entry.step_number, None)
    if earlier is not None:
        entry.attempts = earlier.attempt
        await run.waits.back_off(earlier)
    try:
        entry.request, types = attempt.request(entry.step_number)
    except InvalidValueError as error:
        entry.attempts += 1
        entry.error, entry.error_type = error.message, type(error).__name__
        return error
    for message_type in types:
        run.recording.note_type(message_type)
    while True:
        entry.attempts += 1
        try:
            value = await attempt.run()
            entry.response = encode_value(value, f"the result of step {entry.step_number} {entry.step_type!r}")
        except APP_ERRORS as error:
            if isinstance(error, asyncio.CancelledError) and is_interrupted():
                raise
            failure = attempt.failure(error)
            delay = None if failure.terminal else failure.retry.delay(entry.attempts, run.resources.random)
            if delay is None:
                entry.error, entry.error_type = failure.message, failure.error_type
                return error
            until = run.clock.now() + int(delay * MICROSECONDS)
            run.metrics.retries += 1
        else:
            if entry.response.type_name:
                run.recording.note_type(type(value))
            return value
        await run.waits.back_off(
            PendingWait("retry", entry.step_type, entry.step_number, until, entry.attempts, failure.message)
        )


def is_interrupted() -> bool:
    """Whether someone cancelled this task, and not the step's own code something else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def step_error(entry: JournalEntry) -> StepError:
    """What the handler sees of a step that failed for good, now and on every replay."""
    kind = StepTimeoutError if entry.error_type == TIMED_OUT else StepError
    tries = {0: "", 1: " at its first attempt"}.get(entry.attempts, f" after {entry.attempts} attempts")
    return kind(
        f"Step {entry.step_number} {entry.step_type!r} failed{tries}: {entry.error}",
        step_number=entry.step_number,
        step_type=entry.step_type,
        attempts=entry.attempts,
        error=entry.error,
        error_type=entry.error_type,
    )
