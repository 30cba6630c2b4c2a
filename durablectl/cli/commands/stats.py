"""`durablectl wf stats`: counts of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.handler_notes import note_unknown_handlers
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.filters import with_filters
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, show, stdout_console
from durablectl.cli.terminal.progress import ReadProgress
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import Filters


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
@with_filters
async def stats(*, filters: Filters, settings: Settings, output: Output) -> None:
    """Count workflows by status and by handler.

    Example: durablectl wf stats --since 24h
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        filters = await query.by_server_time(store, filters)
        with ReadProgress() as reading:
            counts = await query.get_stats(store, filters, progress=reading.show)
            reading.note_read()
        if not counts.total:
            await note_unknown_handlers(store, filters.handlers)
    if output.is_json:
        output.print_json(counts.to_json())
        return
    from durablectl.cli.render.stats import stats_lines, stats_table

    now = SYSTEM_CLOCK.now()
    if not output.decorated:
        typer.echo(stats_lines(counts, now))
        return
    console = stdout_console()
    show(console, stats_table(counts, now, console.width))
