"""SIGINT and SIGTERM as a request to stop, which is noticed while the event loop is blocked, too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

from durablectl.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger("durablectl.run")

INTERRUPTED = 130
NOT_STOPPED = 1
"""The exit code where a stop did not come to its end."""
LIMIT_SECONDS = 30.0
"""How much longer than its grace a stop may take."""
_LOG_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest(asyncio.Event):
    """Set once a stop was requested and the event loop runs. ``requested_at`` is set even while it is blocked."""

    requested_at: float = 0.0
    """When the first signal came, in seconds of the monotonic clock; 0 before."""


@contextlib.contextmanager
def stop_signals(grace: float = 0.0) -> Iterator[StopRequest]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process at once, as a crash would.

    A stop is a stop during an outage, too: once the event is set, a failure of the connection is only logged. A process
    that has not ended LIMIT_SECONDS after ``grace`` seconds is ended, whatever keeps it.
    """
    loop = asyncio.get_running_loop()
    stop = StopRequest()

    def received() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)  # what is journaled is safe, and the server does not outlive its parent
        stop.requested_at = stop.requested_at or time.monotonic()
        stop.set()

    limit = TimeLimit(grace + LIMIT_SECONDS)
    seen: contextlib.AbstractContextManager[None] = _seen_by_thread(stop, limit)
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, received)
    except NotImplementedError:  # Windows, where Ctrl-C cancels the command instead
        seen = contextlib.nullcontext()
    try:
        with seen, limit:
            yield stop
    except ConnectionFailedError as error:
        if not stop.is_set():
            raise
        _log.warning("Stopped without the NATS server: %s", error)


class TimeLimit:
    """Ends the process ``seconds`` after ``start``, unless the block of its ``with`` has ended by then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def start(self) -> Self:
        threading.Thread(target=self._run, name="durablectl time limit", daemon=True).start()
        return self

    def _run(self) -> None:
        if self._is_over.wait(self._seconds):
            return
        message = "The process has not stopped within %.0f s, and is ended: a step or other code does not let go."
        # In a thread, because what is stuck may hold the lock of the log.
        log = threading.Thread(target=_log.error, args=(message, self._seconds), daemon=True)
        log.start()
        log.join(_LOG_SECONDS)
        os._exit(NOT_STOPPED)


@contextlib.contextmanager
def _seen_by_thread(stop: StopRequest, limit: TimeLimit) -> Iterator[None]:
    """Have a thread see the signals first, and hand them on to the event loop.

    Python writes the number of a signal to a file descriptor when it comes, whatever the main thread does. It is that
    of the event loop: a pipe takes its place.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    of_loop = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(
        target=_hand_on, args=(reading, of_loop, stop, limit), name="durablectl stop signals", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        replaced = signal.set_wakeup_fd(of_loop, warn_on_full_buffer=False)
        if replaced != writing:  # the app has set one of its own meanwhile
            signal.set_wakeup_fd(replaced, warn_on_full_buffer=False)
        os.close(writing)


def _hand_on(reading: int, of_loop: int, stop: StopRequest, limit: TimeLimit) -> None:
    """Hand signals on until the other end of the pipe is closed."""
    while numbers := os.read(reading, 16):
        for _ in filter(_SIGNALS.__contains__, numbers):
            if stop.requested_at:
                os._exit(INTERRUPTED)
            stop.requested_at = time.monotonic()
            limit.start()
        with contextlib.suppress(OSError):  # the loop is closed
            os.write(of_loop, numbers)
    os.close(reading)
