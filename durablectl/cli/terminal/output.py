"""What every command prints with: the chosen format, consoles that know their terminal, JSON, warnings."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

from durablectl.cli.render.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

WIDE = 1_000_000
"""Columns of a console that is not a terminal, where lines are neither wrapped nor cut."""

stderr_is_json: ContextVar[bool] = ContextVar("stderr_is_json", default=False)
"""Whether errors and warnings are JSON objects, one a line; set for the time of a command."""


class Verbosity(IntEnum):
    """What is said on standard error beside warnings and errors."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)
"""By -q and -v; set for the time of a command."""


class OutputFormat(StrEnum):
    """The values of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    NAME = "name"


@dataclass(frozen=True)
class Output:
    """How the user wants to see the result.

    ``decorated``: boxes, colour, animation, relative times, cut payloads. ``paged``: what is long, in a pager.
    """

    format: OutputFormat
    decorated: bool
    paged: bool = False

    @property
    def is_json(self) -> bool:
        """Both ``json`` and ``jsonl``."""
        return self.format in (OutputFormat.JSON, OutputFormat.JSONL)

    def print_json(self, value: object) -> None:
        """On standard output, flushed: one line for ``jsonl``, else indented."""
        print_json(value, one_line=self.format is OutputFormat.JSONL)

    def show(self, console: Console, renderable: RenderableType) -> None:
        """On a terminal, all that the command has to show there."""
        (show_paged if self.paged else show)(console, renderable)


def print_json(value: object, file: IO[str] | None = None, *, one_line: bool = False) -> None:
    """Flushed. Characters that the stream cannot encode are written as JSON escapes."""
    file = file or sys.stdout
    layout: dict[str, Any] = {"separators": (",", ":")} if one_line else {"indent": 2}
    text = json.dumps(value, ensure_ascii=False, **layout)
    try:
        text.encode(getattr(file, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, **layout)
    file.write(text + "\n")
    file.flush()


def is_decorated(stream: IO[str]) -> bool:
    """True for a terminal that can do more than print line after line."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_coloured(stream: IO[str]) -> bool:
    """By NO_COLOR first, then FORCE_COLOR, then whether it is a terminal; ``FORCE_COLOR=0`` switches colour off."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    return forced != "0" if forced else is_decorated(stream)


def stdout_console(width: int | None = None) -> Console:
    """For data. ``width`` overrides the terminal's."""
    return _console(sys.stdout, width)


def stderr_console(width: int | None = None) -> Console:
    """For progress and questions."""
    return _console(sys.stderr, width)


def _console(stream: IO[str], width: int | None) -> Console:
    decorated, coloured = is_decorated(stream), is_coloured(stream)
    # Markup, emoji and highlighting are off because most of what is printed is the user's data.
    return _console_class()(
        file=stream,
        width=width or (None if decorated else WIDE),
        force_terminal=decorated or coloured,
        force_interactive=decorated,
        color_system=("auto" if decorated else "standard") if coloured else None,
        no_color=not coloured,
        markup=False,
        emoji=False,
        highlight=False,
    )


def show(console: Console, renderable: RenderableType) -> None:
    """Print what was laid out for the console's width already: lines longer than that are left to the terminal."""
    console.print(renderable, soft_wrap=True)


def show_paged(console: Console, renderable: RenderableType) -> None:
    """As ``show``, but through the pager where it does not fit on the console's screen, a terminal."""
    from durablectl.cli.terminal.pager import page

    with console.capture() as captured:
        show(console, renderable)
    page(captured.get(), console.width, console.height)


@functools.cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class QuietConsole(Console):
        """Leaves a closed pipe to the boundary; rich itself would exit with 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return QuietConsole


def warn(message: str) -> None:
    """A sentence on standard error; ``{"warning":{"message"}}`` where errors are JSON."""
    if stderr_is_json.get():
        _say(json.dumps({"warning": {"message": message}}))
    else:
        _say(f"{_label('Warning:', '33')} {printable(message)}")


def note(message: str, *, dim: bool = False) -> None:
    """A sentence on standard error that is not about anything bad; ``{"note":{"message"}}`` where errors are JSON.

    -q leaves it out.
    """
    if is_quiet():
        return
    if stderr_is_json.get():
        _say(json.dumps({"note": {"message": message}}))
    else:
        _say(f"\x1b[2m{printable(message)}\x1b[0m" if dim and is_coloured(sys.stderr) else printable(message))


def is_quiet() -> bool:
    """Whether -q was given: no notes and no progress."""
    return verbosity.get() == Verbosity.QUIET


def report(code: str, message: str, hint: str = "") -> None:
    """An error on standard error; ``{"error":{"code","message","hint"}}`` where JSON was asked for."""
    if stderr_is_json.get():
        error = {"code": code, "message": message, "hint": hint or None}
        _say(json.dumps({"error": error}))
    else:
        _say(f"{_label('Error:', '31')} {printable(message)}")
        if hint:
            _say(printable(hint))


def _label(text: str, colour: str) -> str:
    return f"\x1b[1;{colour}m{text}\x1b[0m" if is_coloured(sys.stderr) else text


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it: the exit code still counts
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON; read before it is parsed, for errors in parsing it."""
    for before, argument in pairwise(["", *arguments]):
        if argument == "--":
            return False
        inline = next((argument.removeprefix(p) for p in ("--output=", "-o") if argument.startswith(p)), "")
        chosen = argument if before in ("-o", "--output") else inline
        if argument == "--json" or chosen in (OutputFormat.JSON, OutputFormat.JSONL):
            return True
    return False
