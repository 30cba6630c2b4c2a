"""`durablectl wf get`, `wf list`, `wf stats` and `durablectl processors`: read, and render."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options import repeated, with_connection, with_filters, with_output
from durablectl.cli.output import Output, OutputFormat, note, show, stdout_console
from durablectl.cli.progress import Reading
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import Filters

_LAST_STEPS = (-50, None)
_LIMIT = 50


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.WIDE, OutputFormat.JSON, OutputFormat.JSONL))
async def get(
    invocation_id: Annotated[str, typer.Argument(metavar="ID")],
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="The steps from number A up to before B, negative from the end, ':' for all (default -50:).",
        ),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Also the steps that retries have dropped.")] = False,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Show one workflow, step by step.

    What it does or waits for, its steps with requests and results, its output or error with the traceback. On a
    terminal long values are shortened; -o wide shows them whole.

    Example: durablectl wf get order-17 --steps 0:20
    """
    shown = _LAST_STEPS if steps is None else step_range(steps)

    from durablectl import query
    from durablectl.storage.store import open_store

    async with open_store(settings) as store:
        view = await query.get_workflow(store, invocation_id, steps=shown)
    if output.is_json:
        output.print_json(view.to_json())
        return
    from durablectl.cli.render.workflow import workflow_page, workflow_text

    now = SYSTEM_CLOCK.now()
    if not output.decorated:
        typer.echo(workflow_text(view, now, history=history))
        return
    console, full = stdout_console(), output.format is OutputFormat.WIDE
    show(console, workflow_page(view, now, console.width, full=full, history=history))


def step_range(text: str) -> tuple[int | None, int | None]:
    """As Python slices: ``0:20``, ``-10:``, ``:``; a number alone is that step."""
    found = re.fullmatch(r"(-?\d+)?(:(-?\d+)?)?", text.strip(), re.ASCII)
    if not text.strip() or found is None:
        raise UsageError(
            f"The --steps cannot be used: {text!r} is not a range of steps.",
            hint="Write it like 0:20, -10: for the last ten, or : for all.",
        )
    first, rest, last = found.groups()
    start = None if first is None else int(first)
    if rest is None and start is not None:
        return start, start + 1 or None  # -1 is the last one, and has nothing behind it
    return start, None if last is None else int(last)


@asynchronous
@with_connection
@with_output
@with_filters
async def list_(
    context: typer.Context,
    limit: Annotated[int | None, typer.Option(metavar="N", help=f"At most so many (default {_LIMIT}).")] = None,
    cursor: Annotated[
        str, typer.Option(metavar="CURSOR", help="Go on behind a page: its next_cursor, with the same filters.")
    ] = "",
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The other way round.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    scan: Annotated[
        bool, typer.Option("--scan", help="Read every workflow instead of the index: finds those it does not have.")
    ] = False,
    *,
    filters: Filters,
    settings: Settings,
    output: Output,
) -> None:
    """List workflows, those first whose status changed last.

    Example: durablectl wf list --status failed --handler checkout --since 2h
    """
    from durablectl import query
    from durablectl.storage.store import open_store

    if limit is not None and limit < 1:
        raise UsageError(f"The limit {limit} is out of range.", hint="It is 1 or more.")
    if count and (limit is not None or cursor or oldest_first):
        raise UsageError(
            "--count is about all that match, but a part or an order was given too.",
            hint="Leave out --limit, --cursor and --oldest-first.",
        )
    from durablectl.cli.pages import print_pages

    async with open_store(settings) as store:
        with Reading() as reading:
            if not count:
                pages = query.list_pages(
                    store,
                    filters,
                    limit or _LIMIT,
                    cursor=cursor,
                    oldest_first=oldest_first,
                    scan=scan,
                    progress=reading.tell,
                )
                await print_pages(pages, output, reading, lambda cursor: repeated(context, cursor=cursor))
                return
            if scan or filters.needs_states:
                total = (await query.list_workflows(store, filters, 1, scan=scan, progress=reading.tell)).total
            else:
                total = await query.count_workflows(store, filters)
    if output.is_json:
        output.print_json({"total": total})
    else:
        typer.echo(total)


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
@with_filters
async def stats(*, filters: Filters, settings: Settings, output: Output) -> None:
    """Count workflows by status and by handler.

    Example: durablectl wf stats --since 24h
    """
    from durablectl import query
    from durablectl.storage.store import open_store

    async with open_store(settings) as store:
        with Reading() as reading:
            counts = await query.get_stats(store, filters, progress=reading.tell)
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


@asynchronous
@with_connection
@with_output
async def processors(*, settings: Settings, output: Output) -> None:
    """List the live processors with their handlers and load."""
    from durablectl import query
    from durablectl.storage.store import open_store

    async with open_store(settings) as store:
        views = await query.live_processors(store)
    if output.format is OutputFormat.JSON:
        output.print_json({"processors": [view.to_json() for view in views]})
        return
    from durablectl.cli.render.listing import processor_lines, processor_table

    if output.format is OutputFormat.JSONL:
        for view in views:
            output.print_json(view.to_json())
    elif output.format is OutputFormat.NAME:
        for view in views:
            typer.echo(view.processor_id)
    elif views and output.decorated:
        console = stdout_console()
        wide = output.format is OutputFormat.WIDE
        show(console, processor_table(views, SYSTEM_CLOCK.now(), 1_000_000 if wide else console.width))
    elif views:
        typer.echo(processor_lines(views))
    if not views and output.format is not OutputFormat.JSONL:
        note("No live processor. Start one with `durablectl run processor`.")
