"""The command tree and the console script."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from durablectl.cli.about import PROGRAM, version
from durablectl.cli.boundary import BoundaryGroup
from durablectl.cli.commands import (
    answer,
    completion,
    demo,
    dev,
    doctor,
    errors,
    run,
    schedule,
    show,
    start,
    steer,
    tail,
    watch,
)
from durablectl.cli.completing import VARIABLE

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_TRY, _RUN, _USE, _MORE = "Try it", "Run", "Use", "More"
_STEER, _ANSWER = "Steer", "Answer"


class _Root(BoundaryGroup):
    """Lists groups and commands together, in the order in which a newcomer meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        panels = [_TRY, _RUN, _USE, _MORE]
        return sorted(names, key=lambda name: panels.index(str(getattr(self.commands[name], "rich_help_panel", _MORE))))


app = typer.Typer(
    name=PROGRAM,
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
    help="Durable workflows on NATS JetStream: run them, and see what they do. Begin with `durablectl demo`.",
)
wf = typer.Typer(no_args_is_help=True, help="Start workflows, look at them, steer them.")
runs = typer.Typer(no_args_is_help=True, help="Run processors and services.")
schedules = typer.Typer(no_args_is_help=True, help="Start workflows again and again.")

app.command("demo", rich_help_panel=_TRY)(demo.demo)
app.command("dev", rich_help_panel=_TRY)(dev.dev)
app.add_typer(runs, name="run", rich_help_panel=_RUN)
app.add_typer(wf, name="wf", rich_help_panel=_USE)
app.add_typer(schedules, name="schedule", rich_help_panel=_USE)
app.command("processors", rich_help_panel=_USE)(show.processors)
app.command("doctor", rich_help_panel=_USE)(doctor.doctor)
app.command("completion", rich_help_panel=_MORE)(completion.completion)

runs.command("processor")(run.processor)
runs.command("service")(run.service)

wf.command("start")(start.start)
wf.command("result")(start.result)
wf.command("get")(show.get)
wf.command("list")(show.list_)
wf.command("stats")(show.stats)
wf.command("watch")(watch.watch)
wf.command("tail")(tail.tail)
wf.command("errors")(errors.errors)
wf.command("pause", rich_help_panel=_STEER)(steer.pause)
wf.command("resume", rich_help_panel=_STEER)(steer.resume)
wf.command("cancel", rich_help_panel=_STEER)(steer.cancel)
wf.command("retry", rich_help_panel=_STEER)(steer.retry)
wf.command("delete", rich_help_panel=_STEER)(steer.delete)
wf.command("signal", rich_help_panel=_ANSWER)(answer.signal)
wf.command("resolve", rich_help_panel=_ANSWER)(answer.resolve)
wf.command("reject", rich_help_panel=_ANSWER)(answer.reject)

schedules.command("create")(schedule.create)
schedules.command("list")(schedule.list_)
schedules.command("get")(schedule.get)
schedules.command("pause")(schedule.pause)
schedules.command("resume")(schedule.resume)
schedules.command("trigger")(schedule.trigger)
schedules.command("delete")(schedule.delete)


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
    app(prog_name=PROGRAM)
