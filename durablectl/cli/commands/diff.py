"""`durablectl wf diff`: two runs beside each other."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL), paged=True)
async def diff(
    first: Annotated[str, typer.Argument(metavar="A", autocompletion=complete_id)],
    second: Annotated[str, typer.Argument(metavar="B", autocompletion=complete_id)],
    full: Annotated[bool, typer.Option("--full", help="Every step that differs, and whole values.")] = False,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Show where two runs part.

    What differs in handler, status, input, output and error; the first step with another type, result or error, and
    in what its values differ; how long each step took in both. Exits 0 whether they differ or not.

    Example: durablectl wf diff order-17 order-18
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        a, b = await asyncio.gather(query.get_workflow(store, first), query.get_workflow(store, second))
    comparison = query.compare(a, b)
    if output.is_json:
        output.print_json(comparison.to_json(full=full))
        return
    from durablectl.cli.render.diff import diff_lines, diff_page

    if not output.decorated:
        typer.echo(diff_lines(comparison, full=full))
        return
    console = stdout_console()
    output.show(console, diff_page(comparison, SYSTEM_CLOCK.now(), console.width, full=full))
