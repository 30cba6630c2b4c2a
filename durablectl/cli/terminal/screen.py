"""A screen of its own on a terminal, on which only the lines that have changed are written."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.text import Text


class Painter:
    """Shows frames. What was on the terminal before is there again after the end; use it in ``painting``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._size = (0, 0)

    def paint(self, frame: Text) -> None:
        """Of a frame that is taller than the terminal the upper part."""
        size = tuple(self._console.size)
        out = []
        if size != self._size:
            self._size, self._shown = (size[0], size[1]), []
            out.append("\x1b[2J")
        lines = [self._coded(line) for line in frame.split("\n")[: size[1]]]
        before = [*self._shown, *[""] * (len(lines) - len(self._shown))]
        for row, (line, old) in enumerate(zip([*lines, *[""] * (len(before) - len(lines))], before, strict=True), 1):
            if line != old:
                out.append(f"\x1b[{row};1H\x1b[2K{line}")
        self._shown = lines
        if out:
            self._console.file.write("".join(out))
            self._console.file.flush()

    def _coded(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="crop", crop=True)
        return captured.get()


@contextlib.contextmanager
def painting(console: Console, resized: Callable[[], None]) -> Iterator[Painter]:
    """``resized`` is called when the terminal has got another size."""
    loop = asyncio.get_running_loop()
    with console.screen():
        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGWINCH, resized)
        try:
            yield Painter(console)
        finally:
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGWINCH)
