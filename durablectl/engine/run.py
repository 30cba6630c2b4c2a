"""One run of one invocation: numbering, replay, steps with their retries, and what a watcher sees meanwhile."""

from __future__ import annotations

import asyncio
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from durablectl.engine.attempts import inside_step
from durablectl.engine.halt import Halt, HandedBack, Mismatch, StorageFailed
from durablectl.engine.log import ReplayLogger
from durablectl.engine.position import Position
from durablectl.engine.steps import step_error
from durablectl.errors import DurableError, PayloadTooLargeError, StepError, UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.records import NO_PAYLOAD, JournalEntry, Payload, Waiting
from durablectl.model.values import encode_value, recorded
from durablectl.storage.journal import READ_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.engine.attempts import Attempt, Failure
    from durablectl.engine.ownership import Ownership
    from durablectl.engine.resources import Resources
    from durablectl.storage.store import Store


class Run:
    """The state of a handler's execution that lives in memory only; the journal can rebuild all of it."""

    def __init__(self, resources: Resources, ownership: Ownership, entries: Sequence[JournalEntry]) -> None:
        execution = ownership.execution
        self.invocation_id = execution.invocation_id
        self.handler = execution.handler
        self.attempt = execution.attempt
        self.moment = execution.started_at
        self.workflow_state: dict[str, Payload] = {}
        self.entries: list[JournalEntry] = list(entries)
        self.total = 0
        self.halted: Halt | None = None
        self.stopping = False
        self.ownership = ownership
        self._resources = resources
        self.clock = resources.clock
        self._recorded = {entry.step_number: entry for entry in entries}
        self._last_recorded = max(self._recorded, default=-1)
        self._seed = f"{execution.invocation_id}:{execution.start_token}"
        self._low = 0
        self._done: set[int] = set()
        self._window_moved: asyncio.Event | None = None
        self._types: list[type[Any]] = []
        self._task = asyncio.current_task()
        self._backing_off: set[asyncio.Event] = set()
        self.position = Position(self)

    @property
    def store(self) -> Store:
        return self._resources.store

    @property
    def state_limit(self) -> int:
        """Bytes that the workflow state may take, so that the record fits into a message."""
        input_size = len(self.ownership.execution.input.data)
        return max(0, self.store.max_payload - self.store.record_headroom - input_size)

    @property
    def is_replaying(self) -> bool:
        return self.total <= self._last_recorded

    @cached_property
    def log(self) -> ReplayLogger:
        return ReplayLogger(self)

    @cached_property
    def random(self) -> Random:
        return Random(self._seed)  # noqa: S311 - must repeat on replay

    @property
    def leftover(self) -> JournalEntry | None:
        """The first recorded step that the handler has not asked for."""
        return self._recorded[min(self._recorded)] if self._recorded else None

    def check_not_halted(self) -> None:
        if self.halted is not None:
            raise self.halted

    def halt(self, reason: Halt) -> None:
        """Leave the handler, wherever it waits; the first reason stands."""
        if self.halted is None:
            self.halted = reason
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def stop_at_next_step(self) -> None:
        """Start no further step, and end the wait before another attempt now."""
        self.stopping = True
        for wake in self._backing_off:
            wake.set()

    def begin(self, attempt: Attempt) -> tuple[int, JournalEntry | None]:
        """The next step's number, and its entry when the journal has it."""
        self.check_not_halted()
        if inside_step.get():
            raise UsageError(
                f"The step {attempt.step_type!r} was started from inside another step.",
                hint="Start steps from the workflow itself, or make the outer one a child workflow.",
            )
        number = self.total
        entry = self._recorded.pop(number, None)
        if entry is not None and (entry.step_type != attempt.step_type or (entry.kind or attempt.kind) != attempt.kind):
            self.halted = Mismatch(
                f"step {number} is recorded as {_named(entry.kind, entry.step_type)}, "
                f"but the code now asks for {_named(attempt.kind, attempt.step_type)}"
            )
            raise self.halted
        if entry is None and self.stopping:
            self.halted = HandedBack()
            raise self.halted
        self.total += 1
        return number, entry

    def consume(self, entry: JournalEntry) -> None:
        self.moment = max(self.moment, entry.finished_at)
        self._advance(entry.step_number)

    def note_type(self, message_type: type[Any]) -> None:
        """A message type that must be described in the store before the next write that uses it."""
        self._types.append(message_type)

    async def perform(self, number: int, attempt: Attempt) -> Any:
        """Run a step to its end and journal it; the value as a replay will see it, or StepError."""
        if number - self._low >= READ_AT_ONCE:
            await self._wait_for_window(number)
        entry = JournalEntry(number, attempt.step_type, attempt.kind, started_at=self.clock.now())
        self.position.started(number, attempt.step_type)
        try:
            value = await self._attempts(entry, attempt)
        finally:
            self.position.ended(number)
        self.consume(entry)
        if entry.error:
            raise step_error(entry) from value
        return recorded(value, entry.response)

    async def _attempts(self, entry: JournalEntry, attempt: Attempt) -> Any:
        """Try until there is a result or no try left, and journal that; the value, or the last exception."""
        value: Any
        while True:
            entry.attempts += 1
            try:
                if entry.attempts == 1:
                    entry.request, types = attempt.request(entry.step_number)
                    self._types.extend(types)
                value = await attempt.run()
                entry.response = encode_value(value, f"the result of step {entry.step_number} {entry.step_type!r}")
                break
            except StepError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the app's code raises
                failure = attempt.failure(error)
                delay = None if failure.terminal else failure.retry.delay(entry.attempts, self._resources.random)
                if delay is None:
                    entry.error, entry.error_type = failure.message, failure.error_type
                    value = error
                    break
            await self._back_off(entry, failure, delay)
        if entry.response.type_name:
            self._types.append(type(value))
        await self._append(entry)
        return value

    async def _append(self, entry: JournalEntry) -> None:
        entry.finished_at = self.clock.now()
        try:
            await self.describe_types()
            try:
                await self.ownership.append(entry)
            except PayloadTooLargeError as error:
                entry.error = f"its request and result cannot be stored: {error.message}"
                entry.error_type = type(error).__name__
                entry.request = entry.response = NO_PAYLOAD
                await self.ownership.append(entry)
        except DurableError as error:
            # The store's trouble is not the workflow's: the handler must not see it.
            self.halted = StorageFailed(error)
            raise self.halted from error
        self.entries.append(entry)

    async def describe_types(self) -> None:
        while self._types:
            await self._resources.schemas.ensure(self._types.pop())

    async def _back_off(self, entry: JournalEntry, failure: Failure, delay: float) -> None:
        until = self.clock.now() + int(delay * MICROSECONDS)
        number = entry.step_number
        self.position.waits(number, Waiting("retry", entry.step_type, number, until, entry.attempts, failure.message))
        if self.stopping:
            raise self._hand_back()
        wake = asyncio.Event()
        self._backing_off.add(wake)
        try:
            await asyncio.wait_for(wake.wait(), delay)
        except TimeoutError:
            self.position.waits(number, None)
        else:
            raise self._hand_back()
        finally:
            self._backing_off.discard(wake)

    def _hand_back(self) -> Halt:
        if self.halted is None:
            self.halted = HandedBack()
        return self.halted

    def _advance(self, number: int) -> None:
        self._done.add(number)
        while self._low in self._done:
            self._done.discard(self._low)
            self._low += 1
        if self._window_moved is not None:
            self._window_moved.set()

    async def _wait_for_window(self, number: int) -> None:
        if self._window_moved is None:
            self._window_moved = asyncio.Event()
        while number - self._low >= READ_AT_ONCE:
            self._window_moved.clear()
            await self._window_moved.wait()


def _named(kind: str, step_type: str) -> str:
    return f"the {kind or 'step'} {step_type!r}"
