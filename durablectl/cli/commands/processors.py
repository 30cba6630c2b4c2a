"""`durablectl processors`: the live processors."""

from __future__ import annotations

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import WIDE, Output, OutputFormat, note, show, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings


@asynchronous
@with_connection
@with_output
@with_times
async def processors(*, times: TimeFormat, settings: Settings, output: Output) -> None:
    """List the live processors with their handlers and load.

    Example: durablectl processors
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        views = await query.live_processors(store)
    if output.format is OutputFormat.JSON:
        output.print_json({"processors": [view.to_json() for view in views]})
        return
    from durablectl.cli.render.processors import processor_lines, processor_table

    if output.format is OutputFormat.JSONL:
        for view in views:
            output.print_json(view.to_json())
    elif output.format is OutputFormat.NAME:
        for view in views:
            typer.echo(view.processor_id)
    elif views and output.decorated:
        console = stdout_console()
        width = WIDE if output.format is OutputFormat.WIDE else console.width
        show(console, processor_table(views, SYSTEM_CLOCK.now(), width, times))
    elif views:
        typer.echo(processor_lines(views, SYSTEM_CLOCK.now(), times))
    if not views and output.format is not OutputFormat.JSONL:
        note("No live processor. Start one with `durablectl run processor`.")
