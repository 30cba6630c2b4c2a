"""`durablectl doctor`: what is wrong with a namespace, and mending its index."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.hung_after import HungAfter, hung_limit_us
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, show, stdout_console
from durablectl.cli.terminal.progress import status_line
from durablectl.errors import UsageError
from durablectl.settings import Settings

_UNHEALTHY = 1


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON))
async def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Make the index agree with the workflows.")] = False,
    streams: Annotated[
        bool, typer.Option("--streams", help="With --repair: also give the streams the configuration they need.")
    ] = False,
    commands: Annotated[
        bool, typer.Option("--commands", help="With --repair: also remove commands that no processor will ever take.")
    ] = False,
    forget_lost: Annotated[
        bool, typer.Option("--forget-lost", help="With --repair: also remove workflows whose records are all lost.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: tell what it would do.")] = False,
    hung_after: HungAfter = None,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Check server, streams, processors, and whether the index agrees with the workflows.

    Reads every workflow once. --repair may be run while processors run, and again at any time. The exit code is 1 while
    there is a warning or an error.

    Example: durablectl doctor --repair --dry-run
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    for option, is_given in (
        ("--dry-run", dry_run),
        ("--streams", streams),
        ("--commands", commands),
        ("--forget-lost", forget_lost),
    ):
        if is_given and not repair:
            raise UsageError(f"{option} goes with --repair.", hint="Without --repair nothing is changed.")
    limit_us = hung_limit_us(hung_after)
    repaired = repaired_streams = removed = None
    async with open_store(settings) as store:
        with status_line("Looking ...") as progress:
            if repair:
                from durablectl import control

                if streams:
                    repaired_streams = await control.repair_streams(store, dry_run=dry_run)
                if commands:
                    removed = await control.remove_dead_commands(store, dry_run=dry_run)
                repaired = await control.repair(store, dry_run=dry_run, forget_lost=forget_lost, progress=progress)
            diagnosis = await query.diagnose(store, progress, hung_after=limit_us)
    code = 0 if diagnosis.is_healthy else _UNHEALTHY
    if output.is_json:
        done = None
        if repaired is not None:
            done = {
                **repaired.to_json(),
                "streams": None if repaired_streams is None else repaired_streams.to_json(),
                "commands": removed,
            }
        output.print_json({**diagnosis.to_json(), "repair": done})
        return code
    from durablectl.cli.render.doctor import diagnosis_lines, diagnosis_table

    if not output.decorated:
        typer.echo(diagnosis_lines(diagnosis, repaired, repaired_streams, removed))
        return code
    console = stdout_console()
    show(console, diagnosis_table(diagnosis, repaired, console.width, repaired_streams, removed))
    return code
