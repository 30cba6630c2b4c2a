"""Output that is longer than the screen, in the user's pager."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

from durablectl.cli.render.symbols import ERROR_HANDLER

_DEFAULT = "less -FIRX"
_LESS = "FIRX"
"""What git sets, too, for a PAGER that is less without options: colours come through, and what is short just stays."""


def page(text: str, width: int, height: int) -> None:
    """Print text, through the pager where it does not fit on a terminal of this size.

    DURABLECTL_PAGER, then PAGER, name the pager; empty or ``cat`` means none, and so does one that is not there.
    """
    command = _command()
    if not command or _height(text, width) < height or not _run(command, text):
        sys.stdout.write(text)


def _command() -> list[str]:
    """Empty for none."""
    named = os.environ.get("DURABLECTL_PAGER", os.environ.get("PAGER", _DEFAULT))
    try:
        command = shlex.split(named)
    except ValueError:  # a quote that is not closed
        return []
    return [] if command == ["cat"] else command


def _height(text: str, width: int) -> int:
    """In lines of the terminal, which breaks longer ones."""
    from rich.text import Text

    return sum(max(1, -(-Text.from_ansi(line).cell_len // width)) for line in text.splitlines())


def _run(command: list[str], text: str) -> bool:
    """Until the user leaves it; False if there is no such program."""
    with _ignore_interrupts():
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, env={"LESS": _LESS, **os.environ})
        except OSError:
            return False
        process.communicate(text.encode(sys.stdout.encoding, ERROR_HANDLER))
    return True


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ctrl-C reaches both processes; a pager may do something else with it than end."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which the pager would inherit
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
