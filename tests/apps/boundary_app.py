"""A small command tree on the CLI's own ground, run by test_boundary.py in process and as a script."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import BoundaryGroup, asynchronous
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.errors import InvalidStateError, NotFoundError, WaitTimeoutError

if TYPE_CHECKING:
    from durablectl.settings import Settings

FAILURES = {
    "user": NotFoundError("There is no workflow 'x'.", hint="See `durablectl wf list`."),
    "group": ExceptionGroup("two", [ValueError("a"), ExceptionGroup("inner", [InvalidStateError("It has ended.")])]),
    "escape": WaitTimeoutError("\x1b[2Jgone\x07"),
    "bug": ZeroDivisionError("division by zero"),
    "connection": BrokenPipeError(32, "Broken pipe"),
    "file": FileNotFoundError(2, "No such file or directory", "/nowhere/at/all"),
    "cancelled": asyncio.CancelledError(),
    "interrupt": KeyboardInterrupt(),
    "abort": typer.Abort(),
    "exit": typer.Exit(11),
}

app = typer.Typer(cls=BoundaryGroup, no_args_is_help=True, pretty_exceptions_enable=False)
wf = typer.Typer(no_args_is_help=True)
app.add_typer(wf, name="wf")


@wf.command()
@asynchronous
@with_connection
@with_output
async def show(
    name: Annotated[str, typer.Argument()],
    limit: Annotated[int, typer.Option(min=1)] = 5,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Show what arrived."""
    output.print_json(
        {
            "name": name,
            "limit": limit,
            "settings": repr(settings),
            "token": settings.token,
            "format": output.format,
            "decorated": output.decorated,
        }
    )


@wf.command()
@with_connection
@with_output(formats=(OutputFormat.JSONL, OutputFormat.JSON))
def own(timeout: str = "9", *, settings: Settings, output: Output) -> int:
    """Has a --timeout of its own, and exits with 10."""
    output.print_json({"timeout": timeout, "settings": settings.timeout})
    return 10


@wf.command()
@asynchronous
@with_output
async def fail(kind: str, *, output: Output) -> None:
    """Fail in the way asked for."""
    if kind in FAILURES:
        raise FAILURES[kind]
    output.print_json(kind)


@wf.command()
@asynchronous
async def flood() -> None:
    """Print more than a pipe holds."""
    console = stdout_console()
    for number in range(100_000):
        console.print(f"line {number}")


@wf.command()
def flood_json() -> None:
    """Print more than a pipe holds, without rich."""
    for number in range(100_000):
        sys.stdout.write(f"{number}\n")


@wf.command()
@asynchronous
async def wait(*, stubborn: bool = False) -> None:
    """Wait for a signal, and clean up."""
    try:
        sys.stdout.write("waiting\n")
        sys.stdout.flush()
        await asyncio.sleep(60)
    finally:
        sys.stdout.write("cleaned up\n")
        sys.stdout.flush()
        if stubborn:
            await asyncio.sleep(60)


@wf.command()
@asynchronous(fast=True)
async def loop() -> None:
    """Name the event loop."""
    sys.stdout.write(f"{type(asyncio.get_running_loop()).__module__}\n")


if __name__ == "__main__":
    app()
