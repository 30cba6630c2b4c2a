"""How many records a command has read, where it reads more than it shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from durablectl.cli.terminal.output import is_decorated, is_quiet

if TYPE_CHECKING:
    from types import TracebackType

_ERASE = "\r\x1b[K"


class Reading:
    """A line on standard error, where that is a terminal; gone at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._decorated = is_decorated(sys.stderr) and not is_quiet()
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def tell(self, number: int) -> None:
        """So many were read until now."""
        if self._decorated:
            self._told = True
            sys.stderr.write(f"{_ERASE}{number:,} workflows read")
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for output."""
        if self._told:
            self._told = False
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
