"""What the commands that follow changes share: logged warnings are shown, and the end of the reader ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import sys
from typing import TYPE_CHECKING

from durablectl.cli.terminal.output import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _WarningHandler(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


@contextlib.contextmanager
def log_warnings(tell: Callable[[str], None] = warn) -> Iterator[None]:
    """Show what the layers below log, a lost connection above all, as warnings."""
    logger, handler = logging.getLogger("durablectl"), _WarningHandler(tell)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def end_with_reader() -> Iterator[None]:
    """Where standard output is a pipe, raise BrokenPipeError when its reader goes, not only at the next line."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    descriptor = _pipe()
    gone = False

    def end() -> None:
        nonlocal gone
        gone = True
        loop.remove_reader(descriptor)
        if task is not None:
            task.cancel()

    if descriptor >= 0:
        loop.add_reader(descriptor, end)
    try:
        yield
    except asyncio.CancelledError:
        if gone:
            raise BrokenPipeError from None
        raise
    finally:
        if descriptor >= 0:
            loop.remove_reader(descriptor)


def _pipe() -> int:
    """The descriptor of standard output if that is a pipe, which tells its writer of errors alone; -1 otherwise."""
    try:
        descriptor = sys.stdout.fileno()
        return descriptor if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(descriptor).st_mode) else -1
    except (OSError, ValueError):
        return -1
