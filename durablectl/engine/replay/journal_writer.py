"""How results get into the journal of one run.

The result of a step that ran alone is given to the handler first, and recorded once the handler has said what it does
next. If it ends, its final state takes the result along: that saves a write, the removal of what was written, and a
round trip. If it asks for anything else, the result is recorded before that begins.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import EngineFailed, RunExit, StorageFailed, do_nothing
from durablectl.errors import DurableError, PayloadTooLargeError
from durablectl.model.codec import encode_entry
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.text import class_of
from durablectl.storage.connection.crash_points import crash_at_caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import JournalEntry
    from durablectl.storage.records.message_types import SchemaWriter

_DEFERRED_BYTES = 4096
"""A bigger result might not fit into the final state."""


@crash_at_caller
class JournalWriter:
    """The entries of one run that are on their way into the journal; ``exit_run`` leaves the handler.

    An end gets its place in the order of ends when it is deferred or its write begins. Writes go out one at a time.
    """

    def __init__(self, state: RunState, schemas: SchemaWriter, exit_run: Callable[[RunExit], None]) -> None:
        self._state = state
        self._schemas = schemas
        self._exit_run = exit_run
        self._writes = 0
        self._deferred: deque[JournalEntry] = deque()
        self._flushing: asyncio.Future[None] | None = None
        self._flush_task: asyncio.Task[None] | None = None
        self._types: list[type[Any]] = []
        self._failure: RunExit | None = None
        self.writing: set[int] = set()
        """The numbers of the steps whose ends are being written, and must not be interrupted."""
        self.on_progress: Callable[[], None] | None = None
        """Called when the journal has grown, and at the end of the run."""
        self.on_idle: Callable[[], None] = lambda: None
        """Called when nothing is on its way any more."""

    @property
    def is_busy(self) -> bool:
        """Whether a result is on its way into the journal, or is deferred."""
        return bool(self._writes or self._deferred)

    @property
    def has_deferred(self) -> bool:
        return bool(self._deferred)

    def note_type(self, message_type: type[Any]) -> None:
        """Describe this message type in the store before the next write that uses it."""
        self._types.append(message_type)

    async def describe_types(self) -> None:
        while self._types:
            await self._schemas.ensure(self._types.pop())

    async def append(self, entry: JournalEntry) -> None:
        """Journal an entry. One that the server cannot hold is journaled as failed. Raises RunExit, nothing else."""
        if self.is_busy:
            await self.flush()
        await self._append(entry)

    def may_defer(self, entry: JournalEntry) -> bool:
        """Whether the handler may see this end before it is recorded: a final state has room for it."""
        is_brief = len(entry.request.data) + len(entry.response.data) + len(entry.error) <= _DEFERRED_BYTES
        return is_brief and not self.is_busy and self._state.exit_reason is None

    def defer(self, entry: JournalEntry) -> None:
        """Record an entry with the next flush, or with the final state. Everything that begins later flushes first."""
        entry.order = entry.order or self._state.next_order()
        self._deferred.append(entry)
        self._state.entries[entry.step_number] = entry

    async def flush(self) -> None:
        """Record what is deferred. Returns once everything deferred before is recorded. Raises RunExit."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
        if self._failure is not None:
            raise self._failure
        if not self._deferred:
            return
        self._flushing = self._state.loop.create_future()
        try:
            while self._deferred:
                self._writes += 1
                try:
                    await self._append(self._deferred.popleft())
                finally:
                    self._written()
        finally:
            self._flushing.set_result(None)
            self._flushing = None

    def start_flush(self) -> None:
        """Record what is deferred: the handler awaits something that is neither its end nor a new operation."""
        if self._deferred and self._flushing is None:
            self._flush_task = self._state.loop.create_task(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        with contextlib.suppress(RunExit):  # the run has been told
            await self.flush()

    async def take_deferred(self) -> JournalEntry | None:
        """The deferred entry, for the final state to take along; None when everything is recorded."""
        if self._writes or len(self._deferred) > 1:
            await self.flush()
        if not self._deferred:
            return None
        entry = self._deferred.popleft()
        encode_entry(entry)
        return entry

    def close(self) -> None:
        """Drop what is deferred: the run is over, and the next run executes that step again."""
        self._deferred.clear()
        if self.on_progress is not None:
            self.on_progress()
            self.on_progress = None
        self._exit_run = self.on_idle = do_nothing

    def _written(self) -> None:
        self._writes -= 1
        if not self.is_busy:
            self.on_idle()

    async def _append(self, entry: JournalEntry) -> None:
        state = self._state
        if entry.finished_at:
            entry.order = entry.order or state.next_order()
            self.writing.add(entry.step_number)
        self._writes += 1
        try:
            if self._types:
                await self.describe_types()
            try:
                await state.ownership.append(entry)
            except PayloadTooLargeError as error:
                entry.error = f"its request and result cannot be stored: {error.message}"
                entry.error_type = type(error).__name__
                entry.error_class, entry.error_details = class_of(error), b""
                entry.reason_code = ReasonCode.TOO_LARGE
                entry.request = entry.response = NO_PAYLOAD
                await state.ownership.append(entry)
        except DurableError as error:
            # A failure of the store is not the workflow's: the handler must not see it.
            self._failure = StorageFailed(error)
            self._exit_run(self._failure)
            raise self._failure from error
        except RunExit as reason:
            self._failure = reason
            self._exit_run(reason)
            raise
        except Exception as error:
            self._failure = EngineFailed(error)
            self._exit_run(self._failure)
            raise self._failure from error
        finally:
            self.writing.discard(entry.step_number)
            self._written()
        state.entries[entry.step_number] = entry
        if self.on_progress is not None:
            self.on_progress()
