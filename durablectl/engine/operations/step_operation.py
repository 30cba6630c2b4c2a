"""The base of operations that execute something, with attempts, back-off and one journal entry at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from durablectl.engine.operations.operation import NumberedOperation
from durablectl.errors import InvalidValueError, PayloadTooLargeError, TerminalError, UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import WaitKind
from durablectl.model.reason_codes import NEVER_RETRIED, ReasonCode
from durablectl.model.records import JournalEntry, PendingWait
from durablectl.model.retry_policy import STEP_RETRY
from durablectl.model.text import class_of, leaves_of, message_of, type_of
from durablectl.model.values import as_replayed, encode_details, encode_value

if TYPE_CHECKING:
    from durablectl.model.retry_policy import Retry

_T = TypeVar("_T")


class Failure(NamedTuple):
    """Why an attempt failed and whether, and after which rule, there is another."""

    message: str
    error_type: str
    retry: Retry
    reason_code: ReasonCode
    error_class: str = ""
    """The qualified name of the exception's class, where there is one."""
    details: bytes = b""

    @property
    def is_terminal(self) -> bool:
        return self.reason_code in NEVER_RETRIED

    def write_to(self, entry: JournalEntry) -> None:
        entry.error, entry.error_type, entry.reason_code = self.message, self.error_type, self.reason_code
        entry.error_class = self.error_class if self.error_class != self.error_type else ""
        entry.error_details = self.details


class StepOperation(NumberedOperation[_T]):
    """A step that starts when it is awaited. A subclass says what is recorded, tried, and tried again."""

    __slots__ = ()

    async def attempt(self) -> Any:
        """Execute it once."""
        raise NotImplementedError

    def failure(self, error: BaseException) -> Failure:
        """What an exception of ``attempt`` means."""
        raise NotImplementedError

    async def execute(self, number: int, entry: JournalEntry | None) -> tuple[JournalEntry, Any]:
        """Execute the step and journal its end; the entry, and the result as a replay will see it."""
        del entry
        run = self._run
        state, journal_writer = run.state, run.journal_writer
        entry = JournalEntry(number, self.step_type, self.kind, started_at=state.clock.now())
        run.tracker.step_started(number, self.step_type)
        try:
            value = await self._attempts(entry)
        except asyncio.CancelledError:
            if run.runner.is_cancelled and state.exit_reason is None:
                entry.error, entry.error_type = "interrupted by a cancellation", "Cancelled"
                entry.reason_code = ReasonCode.INTERRUPTED
                entry.finished_at = state.clock.now()
                await journal_writer.append(entry)
            raise
        finally:
            run.tracker.step_ended(number)
        entry.finished_at = state.clock.now()
        if run.is_alone(number) and journal_writer.may_defer(entry):
            journal_writer.defer(entry)
        else:
            await journal_writer.append(entry)
        run.metrics.step(entry.kind, entry.finished_at - entry.started_at)
        if entry.error:
            return entry, None
        return entry, as_replayed(value, entry.response) if self._response_type is None else value

    async def _attempts(self, entry: JournalEntry) -> Any:
        """Try until there is a result or no try left; the value."""
        run = self._run
        failing_since = await self._end_earlier_back_off(entry)
        if self._request_error is not None:
            entry.attempts += 1
            describe_failure(self._request_error, STEP_RETRY).write_to(entry)
            return None
        entry.request = self._request
        for message_type in self._request_types:
            run.journal_writer.note_type(message_type)
        while True:
            entry.attempts += 1
            try:
                value = await self.attempt()
                entry.response = encode_value(value, f"the result of step {entry.step_number} {entry.step_type!r}")
            except BaseException as error:
                if self._is_restarted(entry.step_number):
                    run.metrics.retries += 1
                    continue
                if isinstance(error, asyncio.CancelledError) and _is_interrupted():
                    raise
                failure = self.failure(error)
                delay = None if failure.is_terminal else failure.retry.delay(entry.attempts, run.jitter)
                if delay is None:
                    failure.write_to(entry)
                    return None
                now = run.state.clock.now()
                until, failing_since = now + int(delay * MICROSECONDS), failing_since or now
                run.metrics.retries += 1
            else:
                self._is_restarted(entry.step_number)  # It has ended first, and what it gave counts.
                if entry.response.type_name:
                    run.journal_writer.note_type(type(value))
                return value
            await run.waits.back_off(
                PendingWait(
                    WaitKind.RETRY,
                    entry.step_type,
                    entry.step_number,
                    until,
                    entry.attempts,
                    failure.message,
                    reason_code=failure.reason_code,
                    since=failing_since,
                )
            )

    async def _end_earlier_back_off(self, entry: JournalEntry) -> int:
        """Wait out the back-off in which an earlier run was suspended; since when attempts fail, 0 without one."""
        earlier = self._run.back_offs.pop(entry.step_number, None)
        if earlier is None:
            return 0
        entry.attempts = earlier.attempt
        await self._run.waits.back_off(earlier)
        return earlier.since

    def _is_restarted(self, number: int) -> bool:
        """Whether an operator, and nothing else, has had this attempt interrupted: then the task goes on."""
        if number not in self._run.restarting:
            return False
        self._run.restarting.discard(number)
        task = asyncio.current_task()
        return task is not None and not task.uncancel()


def describe_failure(error: BaseException, retry: Retry, *, is_final: bool = False) -> Failure:
    """An error that the step itself raised; one that another attempt would meet again is terminal."""
    leaves = leaves_of(error)
    if is_final or any(isinstance(leaf, (TerminalError, InvalidValueError, UsageError)) for leaf in leaves):
        code = ReasonCode.FINAL_ERROR
    elif any(isinstance(leaf, PayloadTooLargeError) for leaf in leaves):
        code = ReasonCode.TOO_LARGE
    else:
        # Not a class of the app that derives from it, or has its name.
        code = ReasonCode.TIMED_OUT if type(error) is TimeoutError else ReasonCode.ATTEMPT_FAILED
    return Failure(message_of(error), type_of(error), retry, code, class_of(error), encode_details(error))


def _is_interrupted() -> bool:
    """Whether someone cancelled this task, and not the step's own code something else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
