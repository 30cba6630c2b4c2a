"""`durablectl processors`: the processors, live and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import WIDE, Output, OutputFormat, note, show, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query import LostProcessorView, ProcessorView


@asynchronous
@with_connection
@with_output
@with_times
async def processors(*, times: TimeFormat, settings: Settings, output: Output) -> None:
    """List the live processors with their handlers and load, and those lost in the last hour.

    Example: durablectl processors
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        views = await query.live_processors(store)
        is_of_live = output.format in (OutputFormat.JSONL, OutputFormat.NAME)
        lost = [] if is_of_live else await query.lost_processors(store)
        full = None if views else await query.get_full_store(store)
        missing = "" if views else await query.find_missing_leases(store)
    if output.format is OutputFormat.JSON:
        output.print_json({"processors": [view.to_json() for view in views], "lost": [view.to_json() for view in lost]})
        return
    if output.format is OutputFormat.JSONL:
        for view in views:
            output.print_json(view.to_json())
        return
    if output.format is OutputFormat.NAME:
        for view in views:
            typer.echo(view.processor_id)
    elif views or lost:
        _show(views, lost, times, output)
    if full is not None:
        room = (
            "Free its disk, and restart nats-server"
            if full.needs_restart
            else "Make room: `durablectl wf delete` needs none"
        )
        note(f"{full.sentence}. No lease can be stored, so that live processors look dead. {room}.")
    elif missing:
        note(
            f"The stream {missing}, which says which processors live, does not exist on this NATS server. "
            "A processor that runs creates it within seconds; without one, start it: `durablectl run processor`."
        )
    elif not views:
        note("No live processor. Start one with `durablectl run processor`.")


def _show(views: Sequence[ProcessorView], lost: Sequence[LostProcessorView], times: TimeFormat, output: Output) -> None:
    from durablectl.cli.render.processors import processor_lines, processors_page

    now = SYSTEM_CLOCK.now()
    if not output.decorated:
        typer.echo(processor_lines(views, now, times, lost))
        return
    console = stdout_console()
    width = WIDE if output.format is OutputFormat.WIDE else console.width
    show(console, processors_page(views, lost, now, width, times))
