"""A thread that watches the processor's event loop: it reports what blocks the loop, and keeps the lease meanwhile.

The loop says every BEAT_SECONDS that it runs. The thread has an event loop and a connection of its own. While the
processor's loop is blocked, the thread renews the lease and the deliveries of the commands in work, for ``ack_wait`` at
most. A process that is frozen or dead does neither. Code that holds the interpreter's lock stops the thread, too.

A stop that the blocked loop does not hear is the thread's to carry out: it gives up the lease and ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from durablectl.engine.worker.blocking_code import BlockingCode, find_blocking_code
from durablectl.errors import DurableError
from durablectl.model.clock import MICROSECONDS
from durablectl.storage.commands.pulls import report_progress
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import leases
from durablectl.storage.streams.provision import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.metrics import Metrics
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

REPORTED_AFTER_SECONDS = 1.0
BEAT_SECONDS = 0.25
_RENEWED_AFTER_SECONDS = 0.5
"""Renewing begins before reporting: the lease may have been renewed a second before the loop was blocked."""
_FROZEN_SECONDS = 1.0
"""After so long between two looks of the thread, the whole process did not run."""
_RECONNECT_SECONDS = 1.0
_STOP_SECONDS = 1.0
_LATE_STOP_SECONDS = 2.0
"""How long after its grace a stop waits for a loop that is blocked."""
_RELEASE_SECONDS = 1.0
_NOT_STOPPED = 1
"""The exit code of a process that could not hand back its workflows."""


@dataclass
class _Block:
    """A time in which the loop does not run; seconds of the monotonic clock. ``last_beat`` is the one before it."""

    code: BlockingCode
    last_beat: float
    since: float
    exceeds_ack_wait: bool = False


class LoopWatchdog:
    """Watches the loop that makes it. ``lease`` is what to renew; ``in_work`` the deliveries to report progress of.

    Both are called from the thread, while the loop is blocked. ``grace`` is how many seconds a stop gives to steps.
    """

    def __init__(
        self,
        store: Store,
        ack_wait: float,
        lease: Callable[[], leases.Lease],
        in_work: Callable[[], list[str]],
        metrics: Metrics,
        *,
        grace: float,
    ) -> None:
        self._store = store
        self._grace = grace
        self._ack_wait = ack_wait
        self._lease = lease
        self._in_work = in_work
        self._metrics = metrics
        self._watched_loop = asyncio.get_running_loop()
        self._watched_thread = threading.get_ident()
        self._beat = time.monotonic()
        self._late_beats = (0.0, 0.0)
        self._lease_renewed = 0.0
        """When the processor itself last renewed it."""
        self._renewed_by_thread = 0.0
        self._progress_reported = 0.0
        self._looked_at = self._resumed_at = 0.0
        self._block: _Block | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_requested = asyncio.Event()
        self._ended = asyncio.Event()
        self._stop_requested_at: Callable[[], float] = lambda: 0.0
        self._own_store: Store | None = None
        """The connection of the thread, while it has one."""
        self._has_given_up = False

    # Called by the processor, on the loop that is watched.

    def start(self, stop_requested_at: Callable[[], float] = lambda: 0.0) -> None:
        """Watch from now on. ``stop_requested_at`` is when a stop of the process was asked for, 0 before."""
        self._stop_requested_at = stop_requested_at
        self._loop = asyncio.new_event_loop()
        self._beats()
        threading.Thread(target=self._run, args=[self._loop], name="durablectl watchdog", daemon=True).start()

    async def stop(self) -> None:
        """End the thread: it renews the lease no more. One that is slow to disconnect is left to itself."""
        if self._loop is None or self._ended.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._stop_requested.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _STOP_SECONDS)

    def lease_renewed(self) -> None:
        """Take note that the processor has just renewed the lease itself."""
        self._lease_renewed = time.monotonic()

    def _beats(self) -> None:
        now = time.monotonic()
        if now - self._beat >= _RENEWED_AFTER_SECONDS:
            self._late_beats = (self._beat, now)
        self._beat = now
        self._timer = self._watched_loop.call_later(BEAT_SECONDS, self._beats)

    # The thread.

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._watch())
        except Exception:  # noqa: BLE001 - a thread has no caller that would see it
            _log.exception("The watchdog of the event loop stopped; restart the processor.")
        with contextlib.suppress(RuntimeError):  # the watched loop is closed
            self._watched_loop.call_soon_threadsafe(self._ended.set)

    async def _watch(self) -> None:
        self._looked_at = time.monotonic()
        keeping = asyncio.create_task(self._keep_lease())
        try:
            while not keeping.done() and not await self._is_stopped_within(BEAT_SECONDS):
                self._look()
                if self._is_stop_late():
                    await self._end_process()
            self._look()
            # It ends by itself: cancelling it while it connects would leave the socket open.
            await keeping
        finally:
            keeping.cancel()

    async def _is_stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_requested.wait(), seconds)
        return self._stop_requested.is_set()

    def _blocked_since(self) -> float:
        """Since when the loop is late, if it is; a time in which the process did not run does not count."""
        return max(self._beat + BEAT_SECONDS, self._resumed_at)

    def _look(self) -> None:
        now = time.monotonic()
        frozen = now - self._looked_at
        self._looked_at = now
        if frozen > _FROZEN_SECONDS:
            self._resumed_at = now
            if self._block is not None:
                self._block.since += frozen
        block, beat = self._block, self._beat
        if block is not None and block.last_beat != beat:
            self._block = None
            before, after = self._late_beats
            self._is_over(block, (after if before == block.last_beat else now) - block.since)
        elif block is None and now - (since := self._blocked_since()) >= REPORTED_AFTER_SECONDS:
            self._block = block = _Block(find_blocking_code(self._watched_thread, self._watched_loop), beat, since)
            self._warn(
                block,
                "The event loop has been blocked for %.1f s by %s. No other workflow of this processor runs meanwhile. "
                "Await what takes long, or make the step a plain function: that runs in a thread.",
                now - since,
            )
        elif block is not None and not block.exceeds_ack_wait and now - block.since >= self._ack_wait:
            block.exceeds_ack_wait = True
            self._warn(
                block,
                "The event loop has been blocked for %.1f s by %s. This is longer than --ack-wait: the lease is not "
                "renewed any more, and other processors take over the workflows of this one.",
                now - block.since,
            )

    def _is_over(self, block: _Block, seconds: float) -> None:
        self._metrics.loop_blocks += 1
        self._metrics.loop_blocked_seconds += max(seconds, 0.0)
        self._warn(block, "The event loop was blocked for %.1f s by %s. It runs again.", seconds)

    def _warn(self, block: _Block, message: str, seconds: float, level: int = logging.WARNING) -> None:
        about = {"invocation_id": block.code.invocation_id, "handler": block.code.handler}
        _log.log(level, message, seconds, block.code, extra=about if block.code.invocation_id else None)

    def _is_stop_late(self) -> bool:
        """Whether a stop should be over by now, and the loop has not run for so long that it is named in the log."""
        requested_at = self._stop_requested_at()
        is_due = requested_at and time.monotonic() - requested_at >= self._grace + _LATE_STOP_SECONDS
        return bool(is_due) and self._block is not None and self._block.last_beat == self._beat

    async def _end_process(self) -> None:
        """Give up the lease, so that other processors take over at once, and end the process."""
        self._has_given_up = True
        block = self._block
        if block is not None:
            self._warn(
                block,
                "Stopped without handing back: the event loop has been blocked for %.1f s by %s. Other processors take "
                "over the workflows of this one.",
                time.monotonic() - block.since,
                logging.ERROR,
            )
        if self._own_store is not None:
            with contextlib.suppress(DurableError, TimeoutError):
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await leases.release(self._own_store, self._lease().processor_id)
        os._exit(_NOT_STOPPED)

    async def _keep_lease(self) -> None:
        """Be connected, and renew what is to be renewed while the loop is blocked."""
        has_warned = False
        while not self._stop_requested.is_set():
            try:
                async with open_store(self._store.settings, name="durablectl watchdog", is_auxiliary=True) as store:
                    has_warned = False
                    self._own_store = store
                    while not await self._is_stopped_within(BEAT_SECONDS):
                        await self._renew(store)
            except DurableError as error:
                if self._store.is_connected and not has_warned:
                    has_warned = True
                    _log.warning("The lease cannot be renewed while the event loop is blocked: %s", error)
            finally:
                self._own_store = None
            await self._is_stopped_within(_RECONNECT_SECONDS)

    async def _renew(self, store: Store) -> None:
        now = time.monotonic()
        since = self._blocked_since()
        if self._has_given_up or now - since < _RENEWED_AFTER_SECONDS or not self._may_renew(now, since):
            return
        try:
            if now >= self._progress_due(since):
                self._progress_reported = now
                for delivery in self._in_work():
                    await report_progress(store, delivery)
            if now - self._last_renewal >= leases.RENEW_SECONDS:
                await leases.renew(store, self._marked_lease())
                self._renewed_by_thread = now
        except DurableError as error:
            _log.warning("The lease could not be renewed while the event loop is blocked: %s", error)

    @property
    def _last_renewal(self) -> float:
        return max(self._lease_renewed, self._renewed_by_thread)

    def _may_renew(self, now: float, since: float) -> bool:
        """Whether the block is short of ``ack_wait``, and the lease was held when the loop last ran.

        Between two blocks the loop may not run long enough for a renewal of its own: those of the thread count, too,
        for ``ack_wait`` after the last one of the processor.
        """
        had_lease = self._beat - self._lease_renewed < LEASE_SECONDS or (
            self._beat - self._last_renewal < LEASE_SECONDS and now - self._lease_renewed < self._ack_wait
        )
        return had_lease and now - since < self._ack_wait

    def _progress_due(self, since: float) -> float:
        interval = self._ack_wait / 6
        is_first = self._progress_reported < since
        return since + min(interval, REPORTED_AFTER_SECONDS) if is_first else self._progress_reported + interval

    def _marked_lease(self) -> leases.Lease:
        """The lease, which says what blocks the loop."""
        block = self._block
        if block is None:
            return self._lease()
        blocked_us = int((time.monotonic() - block.since) * MICROSECONDS)
        return replace(self._lease(), blocked_since=self._store.clock.now() - blocked_us, blocked_by=str(block.code))
