"""What every part of one run reads: ids, clock, claim, journal entries, and why the run leaves its handler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import Paused, ProcessorStopping
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.model.records import JournalEntry, Payload
    from durablectl.storage.connection.store import Store


class HandlerState:
    """How far a handler is. A replay reaches the same values at the same places."""

    def __init__(self, entries: Iterable[JournalEntry], started_at_us: int) -> None:
        self.entries = {entry.step_number: entry for entry in entries}
        self.started_at_us = started_at_us
        self.step_count = 0
        """How many step numbers have been given out; the next operation gets this number."""
        self.started_count = 0
        """One more than the highest number of an operation that was begun: what waits for leave to begin is not."""
        self.logical_time_us = started_at_us
        """When the operation whose end was delivered last ended, or the workflow started."""
        self.ends_ahead = 0
        """How many recorded ends have not been delivered."""
        self.is_live = False
        """Whether every recorded end has been delivered, and what follows is executed."""
        self.has_ended = False
        """Whether the handler has ended by itself. It may have done so in a replay, where every end was recorded."""
        self.exit_reason: RunExit | None = None
        self.last_recorded = max(self.entries, default=-1)
        self._last_order = max((entry.order for entry in self.entries.values()), default=0)

    @property
    def is_replaying(self) -> bool:
        """Whether recorded operations or ends are still ahead."""
        return self.ends_ahead > 0 or self.step_count <= self.last_recorded

    def next_order(self) -> int:
        """Return the place of the end that is recorded next."""
        self._last_order += 1
        return self._last_order


class RunState(HandlerState):
    """The data of one run; it calls nothing above it. All of it lives in memory: the journal can rebuild it."""

    def __init__(self, store: Store, ownership: Ownership, entries: Sequence[JournalEntry]) -> None:
        execution = ownership.execution
        super().__init__(entries, execution.started_at)
        self.store = store
        self.clock = store.clock
        self.loop = asyncio.get_running_loop()
        self.ownership = ownership
        self.invocation_id = execution.invocation_id
        self.handler = execution.handler
        self.attempt = execution.attempt
        self.workflow_state: dict[str, Payload] = {}
        self.stored_workflow_state = execution.workflow_state
        self.received_signals: set[int] | None = None
        """Numbers of the signals that the handler has received; None until it asks for one."""
        self.is_cancelling = execution.cancel_requested
        self.is_compensating = False
        self.is_stopping = False
        self.is_pausing = execution.status == Status.PAUSED

    @property
    def pending_exit(self) -> RunExit | None:
        """Why no new step may start, if that is so."""
        if self.is_pausing:
            return Paused()
        return ProcessorStopping() if self.is_stopping else None

    @property
    def latest_workflow_state(self) -> dict[str, Payload]:
        """What the handler keeps; what the record has, where the handler has not caught up with its journal."""
        is_current = self.is_live or self.has_ended or self.is_compensating
        return dict(self.workflow_state if is_current else self.stored_workflow_state)

    def raise_if_exiting(self) -> None:
        if self.exit_reason is not None:
            raise self.exit_reason
