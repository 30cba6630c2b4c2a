"""How results get into the journal of one run.

The result of a step that the handler itself awaits is held until the handler says, in the same turn of the loop, what
it does next. If it ends, its final state takes the result along: that saves a write, the removal of what was written,
and a round trip. If it begins another step, or awaits anything else, the result is recorded first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import Halt, StorageFailed
from durablectl.errors import DurableError, PayloadTooLargeError
from durablectl.model.codec import encode_entry
from durablectl.model.records import NO_PAYLOAD

if TYPE_CHECKING:
    from typing import Any

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import JournalEntry

_HELD_BYTES = 4096
"""What is bigger might not fit into the final state."""


class Recording:
    """The entries that are on their way into the journal."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = run.loop
        self._task = asyncio.current_task()
        self._appending = 0
        self._held: JournalEntry | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._aside: asyncio.Task[None] | None = None
        self._may_be_stored = False
        self._types: list[type[Any]] = []

    @property
    def is_appending(self) -> bool:
        """Whether a result is being written: an interruption waits until it is."""
        return self._appending > 0

    @property
    def is_busy(self) -> bool:
        """Whether a result is on its way into the journal, or is held."""
        return self._appending > 0 or self._held is not None

    def note_type(self, message_type: type[Any]) -> None:
        """A message type that must be described in the store before the next write that uses it."""
        self._types.append(message_type)

    async def describe_types(self) -> None:
        while self._types:
            await self._run.resources.schemas.ensure(self._types.pop())

    async def append(self, entry: JournalEntry) -> None:
        """Journal an entry. One that the server cannot hold is journaled as failed. Raises Halt, nothing else.

        A result that is there is not lost to an interruption: that comes right after.
        """
        if self.is_busy:
            await self.flush()
        await self._append(entry)

    async def hold(self, entry: JournalEntry) -> None:
        """Journal an entry, or hold it for a moment where its step was awaited by the handler's own task."""
        run = self._run
        is_brief = len(entry.request.data) + len(entry.response.data) + len(entry.error) <= _HELD_BYTES
        if not is_brief or run.halted is not None or asyncio.current_task() is not self._task:
            await self.append(entry)
            return
        self._held = entry
        run.entries[entry.step_number] = entry
        self._loop.call_soon(self._flush_aside)

    async def flush(self) -> None:
        """Record what is held. Returns once nothing that was held before is on its way. Raises Halt."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
            self._run.check_not_halted()
        entry = self._held
        if entry is None:
            return
        self._held = None
        self._flushing = self._loop.create_future()
        try:
            await self._append(entry)
            self._may_be_stored = False
        except asyncio.CancelledError:
            # A time limit around the step that comes next: what the handler has seen stays to be recorded.
            self._held, self._may_be_stored = entry, True
            self._loop.call_soon(self._flush_aside)
            raise
        finally:
            self._flushing.set_result(None)
            self._flushing = None

    def _flush_aside(self) -> None:
        """The handler has gone on without ending or beginning a step: it awaits something else."""
        if self._held is not None and self._flushing is None:
            self._aside = self._loop.create_task(self._flush_or_interrupt())

    async def _flush_or_interrupt(self) -> None:
        try:
            await self.flush()
        except Halt:
            self._run.interrupt()

    async def take(self) -> JournalEntry | None:
        """What is held, for the final state; None when all is recorded."""
        if self._appending or self._may_be_stored:
            await self.flush()
        entry, self._held = self._held, None
        if entry is not None:
            encode_entry(entry)
        return entry

    def close(self) -> None:
        """The run is over, and whoever takes the invocation up runs the step of what is held again."""
        self._held = None

    async def _append(self, entry: JournalEntry) -> None:
        run = self._run
        self._appending += 1
        try:
            if self._types:
                await self.describe_types()
            try:
                await run.ownership.append(entry)
            except PayloadTooLargeError as error:
                entry.error = f"its request and result cannot be stored: {error.message}"
                entry.error_type = type(error).__name__
                entry.request = entry.response = NO_PAYLOAD
                await run.ownership.append(entry)
        except DurableError as error:
            # The store's trouble is not the workflow's: the handler must not see it.
            run.halted = run.halted or StorageFailed(error)
            raise run.halted from error
        except Halt as halt:
            run.halted = run.halted or halt
            raise
        finally:
            self._appending -= 1
            if not self._appending:
                run.interrupt_if_due()
        run.entries[entry.step_number] = entry
        if run.on_progress is not None:
            run.on_progress()
