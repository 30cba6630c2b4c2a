"""The command tree and the console script."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from durablectl.cli import PROGRAM, version
from durablectl.cli.boundary import BoundaryGroup
from durablectl.cli.completion.scripts import VARIABLE, answer
from durablectl.cli.lazy import LazyGroup, LazyTarget
from durablectl.model.audit import CLI, VIA

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_TRY, _RUN, _USE, _MORE = "Try it", "Run", "Use", "More"
_STEER, _ANSWER = "Steer", "Answer"


class _Root(BoundaryGroup):
    """Lists groups and commands together, in the order in which a newcomer meets them."""

    lazy = {  # noqa: RUF012
        "demo": LazyTarget("demo:demo", _TRY),
        "dev": LazyTarget("dev:dev", _TRY),
        "serve-api": LazyTarget("serve:serve_api", _RUN),
        "status": LazyTarget("status:status", _USE),
        "processors": LazyTarget("processors:processors", _USE),
        "doctor": LazyTarget("doctor:doctor", _USE),
        "audit": LazyTarget("audit:audit", _USE),
        "help": LazyTarget("help:help_", _MORE),
        "completion": LazyTarget("completion:completion", _MORE),
    }

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        panels = [_TRY, _RUN, _USE, _MORE]

        def place(name: str) -> tuple[int, bool]:
            panel = str(getattr(self.commands[name], "rich_help_panel", _MORE))
            return panels.index(panel), name in self.lazy  # groups first

        return sorted(names, key=place)


class _Workflows(LazyGroup):
    lazy = {  # noqa: RUF012
        "start": LazyTarget("start:start"),
        "result": LazyTarget("result:result"),
        "get": LazyTarget("get:get"),
        "list": LazyTarget("list:list_"),
        "stats": LazyTarget("stats:stats"),
        "watch": LazyTarget("watch:watch"),
        "tail": LazyTarget("tail:tail"),
        "errors": LazyTarget("error_clusters:errors"),
        "why": LazyTarget("why:why"),
        "timeline": LazyTarget("timeline:timeline"),
        "diff": LazyTarget("diff:diff"),
        "pause": LazyTarget("lifecycle:pause", _STEER),
        "resume": LazyTarget("lifecycle:resume", _STEER),
        "cancel": LazyTarget("lifecycle:cancel", _STEER),
        "retry": LazyTarget("lifecycle:retry", _STEER),
        "retry-now": LazyTarget("lifecycle:retry_now", _STEER),
        "restart-step": LazyTarget("lifecycle:restart_step", _STEER),
        "delete": LazyTarget("lifecycle:delete", _STEER),
        "signal": LazyTarget("messages:signal", _ANSWER),
        "resolve": LazyTarget("messages:resolve", _ANSWER),
        "reject": LazyTarget("messages:reject", _ANSWER),
    }


class _Runs(LazyGroup):
    lazy = {  # noqa: RUF012
        "processor": LazyTarget("run_app:processor"),
        "service": LazyTarget("run_app:service"),
    }


class _Schedules(LazyGroup):
    lazy = {  # noqa: RUF012
        "create": LazyTarget("schedule:create"),
        "list": LazyTarget("schedule:list_"),
        "get": LazyTarget("schedule:get"),
        "pause": LazyTarget("schedule:pause"),
        "resume": LazyTarget("schedule:resume"),
        "trigger": LazyTarget("schedule:trigger"),
        "delete": LazyTarget("schedule:delete"),
    }


class _Jobs(LazyGroup):
    lazy = {  # noqa: RUF012
        "list": LazyTarget("jobs:list_"),
        "get": LazyTarget("jobs:get"),
        "watch": LazyTarget("jobs:watch"),
        "pause": LazyTarget("jobs:pause"),
        "resume": LazyTarget("jobs:resume"),
        "cancel": LazyTarget("jobs:cancel"),
    }


app = typer.Typer(
    name=PROGRAM,
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
    help="Durable workflows on NATS JetStream: run them, and see what they do. Begin with `durablectl demo`.",
)
wf = typer.Typer(cls=_Workflows, no_args_is_help=True, help="Start workflows, look at them, steer them.")
runs = typer.Typer(cls=_Runs, no_args_is_help=True, help="Run processors and services.")
schedules = typer.Typer(cls=_Schedules, no_args_is_help=True, help="Start workflows again and again.")
jobs = typer.Typer(cls=_Jobs, no_args_is_help=True, help="Follow and steer bulk operations in the background.")

app.add_typer(runs, name="run", rich_help_panel=_RUN)
app.add_typer(wf, name="wf", rich_help_panel=_USE)
app.add_typer(schedules, name="schedule", rich_help_panel=_USE)
app.add_typer(jobs, name="jobs", rich_help_panel=_USE)


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
    """Run the command that the process was started with, or complete a command line."""
    if VARIABLE in os.environ:
        _complete(os.environ[VARIABLE])
    VIA.set(CLI)
    try:
        app(prog_name=PROGRAM)
    finally:
        gc.freeze()  # or Python looks through every module for cycles before it ends, for a sixth of `wf list`


def _complete(line: str) -> NoReturn:
    """Print the candidates, and nothing else, whatever happens."""
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for good
    with contextlib.suppress(Exception, KeyboardInterrupt):
        sys.stdout.write(answer(typer.main.get_command(app), line))
        sys.stdout.flush()
    os._exit(0)  # without waiting for a thread that still asks the server
