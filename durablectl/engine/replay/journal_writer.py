"""How results get into the journal of one run.

The result of a step that the handler itself awaits is deferred until the handler says, in the same turn of the loop,
what it does next. If it ends, its final state takes the result along: that saves a write, the removal of what was
written, and a round trip. If it begins another step, or awaits anything else, the result is recorded first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import RunExit, StorageFailed
from durablectl.errors import DurableError, PayloadTooLargeError
from durablectl.model.codec import encode_entry
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD
from durablectl.storage.connection.crash_points import crash_at_caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from durablectl.engine.replay.handler_task import HandlerTask
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import JournalEntry
    from durablectl.storage.records.message_types import SchemaWriter

_DEFERRED_BYTES = 4096
"""A bigger result might not fit into the final state."""


@crash_at_caller
class JournalWriter:
    """The entries of one run that are on their way into the journal."""

    def __init__(self, state: RunState, handler_task: HandlerTask, schemas: SchemaWriter) -> None:
        self._state = state
        self._handler_task = handler_task
        self._schemas = schemas
        self._deferred: JournalEntry | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._flush_task: asyncio.Task[None] | None = None
        self._may_be_stored = False
        self._types: list[type[Any]] = []
        self.on_progress: Callable[[], None] | None = None
        """Called when the journal has grown, and at the end of the run."""

    @property
    def is_busy(self) -> bool:
        """Whether a result is on its way into the journal, or is deferred."""
        return self._deferred is not None or self._handler_task.is_writing

    def note_type(self, message_type: type[Any]) -> None:
        """Describe this message type in the store before the next write that uses it."""
        self._types.append(message_type)

    async def describe_types(self) -> None:
        while self._types:
            await self._schemas.ensure(self._types.pop())

    async def append(self, entry: JournalEntry) -> None:
        """Journal an entry. One that the server cannot hold is journaled as failed. Raises RunExit, nothing else.

        An interruption does not lose the result: it comes right after the write.
        """
        if self.is_busy:
            await self.flush()
        await self._append(entry)

    async def append_or_defer(self, entry: JournalEntry) -> None:
        """Journal an entry; defer that until the loop's next turn where the handler's own task awaits the step."""
        state = self._state
        is_brief = len(entry.request.data) + len(entry.response.data) + len(entry.error) <= _DEFERRED_BYTES
        if not is_brief or state.exit_reason is not None or not self._handler_task.is_current:
            await self.append(entry)
            return
        self._deferred = entry
        state.entries[entry.step_number] = entry
        state.loop.call_soon(self._start_flush)

    async def flush(self) -> None:
        """Record the deferred entry. Returns once everything deferred before is recorded. Raises RunExit."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
            self._state.raise_if_exiting()
        entry = self._deferred
        if entry is None:
            return
        self._deferred = None
        self._flushing = self._state.loop.create_future()
        try:
            await self._append(entry)
            self._may_be_stored = False
        except asyncio.CancelledError:
            # A time limit around the step that comes next: what the handler has seen stays to be recorded.
            self._deferred, self._may_be_stored = entry, True
            self._state.loop.call_soon(self._start_flush)
            raise
        finally:
            self._flushing.set_result(None)
            self._flushing = None

    def _start_flush(self) -> None:
        """Record the deferred entry: the handler awaits something that is neither its end nor a step."""
        if self._deferred is not None and self._flushing is None:
            self._flush_task = self._state.loop.create_task(self._flush_or_interrupt())

    async def _flush_or_interrupt(self) -> None:
        try:
            await self.flush()
        except RunExit:
            self._handler_task.interrupt()

    async def take_deferred(self) -> JournalEntry | None:
        """The deferred entry, for the final state to take along; None when everything is recorded."""
        if self._may_be_stored or self._handler_task.is_writing:
            await self.flush()
        entry, self._deferred = self._deferred, None
        if entry is not None:
            encode_entry(entry)
        return entry

    def close(self) -> None:
        """Drop the deferred entry: the run is over, and the next run executes that step again."""
        self._deferred = None
        if self.on_progress is not None:
            self.on_progress()

    async def _append(self, entry: JournalEntry) -> None:
        state = self._state
        self._handler_task.begin_write()
        try:
            if self._types:
                await self.describe_types()
            try:
                await state.ownership.append(entry)
            except PayloadTooLargeError as error:
                entry.error = f"its request and result cannot be stored: {error.message}"
                entry.error_type = type(error).__name__
                entry.reason_code = ReasonCode.TOO_LARGE
                entry.request = entry.response = NO_PAYLOAD
                await state.ownership.append(entry)
        except DurableError as error:
            # A failure of the store is not the workflow's: the handler must not see it.
            state.exit_reason = state.exit_reason or StorageFailed(error)
            raise state.exit_reason from error
        except RunExit as reason:
            state.exit_reason = state.exit_reason or reason
            raise
        finally:
            self._handler_task.end_write()
        state.entries[entry.step_number] = entry
        if self.on_progress is not None:
            self.on_progress()
