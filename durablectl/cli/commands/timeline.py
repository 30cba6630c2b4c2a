"""`durablectl wf timeline`: when each step ran."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import StepsOption, with_output
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_step_range
from durablectl.settings import Settings


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL), paged=True)
async def timeline(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    steps: StepsOption = None,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Draw when each step ran, and for how long.

    Work, waits, and steps that needed several attempts are shaded differently. Times are counted from the start. Off a
    terminal: number, step, kind, start, finish and milliseconds, tab-separated.

    Example: durablectl wf timeline order-17 --steps 0:20
    """
    shown = parse_step_range(steps, "--steps")

    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view = await query.get_workflow(store, invocation_id, steps=shown)
    from durablectl.cli.render.timeline import timeline_json, timeline_lines, timeline_page

    now = SYSTEM_CLOCK.now()
    if output.is_json:
        output.print_json(timeline_json(view, now))
    elif output.decorated:
        console = stdout_console()
        output.show(console, timeline_page(view, now, console.width))
    else:
        typer.echo(timeline_lines(view, now))
