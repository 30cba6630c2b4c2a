"""Progress on standard error, where that is a terminal and -q was not given."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Self

from durablectl.cli.terminal.output import is_decorated, is_quiet, note, stderr_console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_ERASE = "\r\x1b[K"


class ReadProgress:
    """How many workflows a command has read, on a line that is gone at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._is_wanted = is_decorated(sys.stderr) and not is_quiet()
        self._is_shown = False
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def show(self, number: int) -> None:
        """So many were read until now."""
        self._read = number
        if self._is_wanted:
            self._is_shown = True
            sys.stderr.write(f"{_ERASE}{number:,} workflows read")
            sys.stderr.flush()

    def note_read(self) -> None:
        """Say how many workflows were read, where a command read any beside what it shows."""
        if self._read and self._is_wanted:
            self.clear()
            note(f"{self._read:,} workflow{'' if self._read == 1 else 's'} read.", dim=True)

    def clear(self) -> None:
        """Make room for output."""
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


@contextlib.contextmanager
def status_line(text: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """A line that moves while much is read: what is read, how many are done, of how many. None for none."""
    if not is_decorated(sys.stderr) or is_quiet():
        yield None
        return
    with stderr_console().status(text) as status:
        yield lambda what, done, total: status.update(f"{done:,} of {total:,} {what}")


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """A bar, moved on by each call of what it gives."""
    from rich.progress import Progress

    with Progress(console=stderr_console(), transient=True, disable=is_quiet()) as progress:
        bar = progress.add_task("", total=total)
        yield lambda: progress.advance(bar)
