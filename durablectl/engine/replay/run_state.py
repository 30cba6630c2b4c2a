"""What every part of one run reads: ids, clock, claim, journal entries, and why the run leaves its handler."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import Paused, ProcessorStopping
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.model.records import JournalEntry, Payload
    from durablectl.storage.connection.store import Store

inside_step: contextvars.ContextVar[bool] = contextvars.ContextVar("durablectl_inside_step", default=False)


class RunState:
    """The data of one run; it calls nothing above it. All of it lives in memory: the journal can rebuild it."""

    def __init__(self, store: Store, ownership: Ownership, entries: Sequence[JournalEntry]) -> None:
        execution = ownership.execution
        self.store = store
        self.clock = store.clock
        self.loop = asyncio.get_running_loop()
        self.ownership = ownership
        self.invocation_id = execution.invocation_id
        self.handler = execution.handler
        self.attempt = execution.attempt
        self.entries = {entry.step_number: entry for entry in entries}
        self.last_recorded = max(self.entries, default=-1)
        self.step_count = 0
        """How many step numbers have been given out; the next step gets this number."""
        self.logical_time_us = execution.started_at
        """When the last step that the handler awaited ended, or the workflow started: the same on every replay."""
        self.workflow_state: dict[str, Payload] = {}
        self.received_signals: set[int] | None = None
        """Numbers of the signals that the handler has received; None until it asks for one."""
        self.unresumed_groups = 0
        """How many groups of steps have ended without the awaiting code having been resumed yet."""
        self.exit_reason: RunExit | None = None
        self.is_cancelling = execution.cancel_requested
        self.is_compensating = False
        self.is_stopping = False
        self.is_pausing = execution.status == Status.PAUSED

    @property
    def is_replaying(self) -> bool:
        return self.step_count <= self.last_recorded

    @property
    def pending_exit(self) -> RunExit | None:
        """Why no new step may start, if that is so."""
        if self.is_pausing:
            return Paused()
        return ProcessorStopping() if self.is_stopping else None

    def raise_if_exiting(self) -> None:
        if self.exit_reason is not None:
            raise self.exit_reason

    def raise_if_unwanted(self) -> None:
        """Raise where no further step may begin; recording the step before may have shown a pause or cancellation."""
        self.raise_if_exiting()
        if self.is_cancelling and not self.is_compensating:
            raise asyncio.CancelledError
        pending = self.pending_exit
        if pending is not None:
            self.exit_reason = pending
            raise pending
