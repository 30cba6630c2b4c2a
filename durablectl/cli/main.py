"""The command tree and the console script."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from durablectl.cli.about import PROGRAM, version
from durablectl.cli.boundary import BoundaryGroup
from durablectl.cli.commands import completion, demo, dev, run, show, start, watch
from durablectl.cli.completing import VARIABLE

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_TRY, _RUN, _USE, _MORE = "Try it", "Run", "Use", "More"

app = typer.Typer(
    name=PROGRAM,
    cls=BoundaryGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
    help="Durable workflows on NATS JetStream: run them, and see what they do. Begin with `durablectl demo`.",
)
wf = typer.Typer(no_args_is_help=True, help="Start workflows, look at them, follow them.")
runs = typer.Typer(no_args_is_help=True, help="Run processors and services.")

app.command("demo", rich_help_panel=_TRY)(demo.demo)
app.command("dev", rich_help_panel=_TRY)(dev.dev)
app.add_typer(runs, name="run", rich_help_panel=_RUN)
app.add_typer(wf, name="wf", rich_help_panel=_USE)
app.command("processors", rich_help_panel=_USE)(show.processors)
app.command("completion", rich_help_panel=_MORE)(completion.completion)

runs.command("processor")(run.processor)
runs.command("service")(run.service)

wf.command("start")(start.start)
wf.command("result")(start.result)
wf.command("get")(show.get)
wf.command("list")(show.list_)
wf.command("stats")(show.stats)
wf.command("watch")(watch.watch)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {version()}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that the process was started with."""
    if VARIABLE in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # registers the shells, which is otherwise left to add_completion
    code: object = 1
    try:
        app(prog_name=PROGRAM)
    except SystemExit as end:
        code = end.code
        raise
    finally:
        _leave_step_threads(code if isinstance(code, int) else 0)


def _leave_step_threads(code: int) -> None:
    """Python waits for every thread before it exits, but a step function that blocks may never end."""
    steps = [thread for thread in threading.enumerate() if thread.name.startswith("step")]
    for thread in steps:
        thread.join(_THREAD_SECONDS / len(steps))
    if any(thread.is_alive() for thread in steps):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


_THREAD_SECONDS = 0.2
