"""The task in which the app's handler runs, and when the engine may cancel it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.run_state import RunState


class HandlerTask:
    """Leaves the handler by cancelling its task; not while a result is being written, but right after that."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._task = asyncio.current_task()
        self._writes = 0
        self._is_due = False
        self.is_interruptible = False

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in it, and not in a task that the handler has made."""
        return asyncio.current_task() is self._task

    @property
    def is_writing(self) -> bool:
        """Whether a result is being written: an interruption waits until it is."""
        return self._writes > 0

    def begin_write(self) -> None:
        self._writes += 1

    def end_write(self) -> None:
        self._writes -= 1
        if not self._writes and self._is_due:
            self._is_due = False
            self._state.loop.call_soon(self.interrupt)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Allow interruptions: the app's code runs, unlike what the engine writes before and after."""
        self.is_interruptible = True
        try:
            yield
        finally:
            self.is_interruptible = False

    def exit(self, reason: RunExit) -> None:
        """Leave the handler, wherever it waits; the first reason stands."""
        if self._state.exit_reason is None:
            self._state.exit_reason = reason
            self.interrupt()

    def interrupt(self) -> None:
        """Wake the handler, wherever it waits; once a result that is being written is."""
        if self._state.is_compensating and self._state.exit_reason is None:
            return  # A cancellation that came while a result was journaled: the handler has left by itself since.
        if self._writes:
            self._is_due = True
        elif self.is_interruptible and self._task is not None and not self.is_current:
            self._task.cancel()

    def forget_cancellations(self) -> None:
        """Let the task run on: compensations run in it after the handler was cancelled."""
        while self._task is not None and self._task.uncancel():
            pass
