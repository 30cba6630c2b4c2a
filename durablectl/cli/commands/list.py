"""`durablectl wf get`, `wf list`, `wf stats` and `durablectl processors`: read, and render."""

from __future__ import annotations

import shlex
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.connection_flags import may_be_secret
from durablectl.cli.handler_notes import note_unknown_handlers
from durablectl.cli.options.columns import complete_columns, read_columns
from durablectl.cli.options.shared import StepsOption, with_connection, with_filters, with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import WIDE, Output, OutputFormat, note, show, stdout_console
from durablectl.cli.terminal.progress import ReadProgress
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_step_range
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import Filters

_LIMIT = 50


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.WIDE, OutputFormat.JSON, OutputFormat.JSONL), paged=True)
@with_times
async def get(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    steps: StepsOption = None,
    history: Annotated[bool, typer.Option("--history", help="Also the steps that retries have dropped.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Shorten no value; the same as -o wide.")] = False,
    *,
    times: TimeFormat,
    settings: Settings,
    output: Output,
) -> None:
    """Show one workflow, step by step.

    What it does or waits for, its steps with requests and results and the workflows that they started, its output or
    error with the traceback. On a terminal long values are shortened; --full shows them whole.

    Example: durablectl wf get order-17 --steps 0:20
    """
    shown = parse_step_range(steps, "--steps")

    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view = await query.get_workflow(store, invocation_id, steps=shown)
        children = await query.get_children(store, view) if view.children else []
        usual = await query.find_typical_steps(store, [view]) if output.decorated and not output.is_json else {}
    if output.is_json:
        output.print_json(
            {**view.to_json(), "child_workflows": [replace(child, journal=None).to_json() for child in children]}
        )
        return
    from durablectl.cli.render.workflow import workflow_page, workflow_text

    now = SYSTEM_CLOCK.now()
    if not output.decorated:
        typer.echo(workflow_text(view, now, children=children, history=history, times=times))
        return
    console = stdout_console()
    page = workflow_page(
        view,
        now,
        console.width,
        children=children,
        usual=usual.get(view.handler, 0),
        full=full or output.format is OutputFormat.WIDE,
        history=history,
        times=times,
    )
    output.show(console, page)


@asynchronous
@with_connection
@with_output(paged=True)
@with_times
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
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Only these columns, as the table or the JSON names them.",
            rich_help_panel="Output",
            autocompletion=complete_columns,
        ),
    ] = None,
    *,
    times: TimeFormat,
    filters: Filters,
    settings: Settings,
    output: Output,
) -> None:
    """List workflows, those first whose status changed last.

    Example: durablectl wf list --status failed --handler checkout --since 2h
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    if limit is not None and limit < 1:
        raise UsageError(f"The limit {limit} is out of range.", hint="It is 1 or more.")
    if count and (limit is not None or cursor or oldest_first or columns is not None):
        raise UsageError(
            "--count is about all that match, but a part, an order or columns were given too.",
            hint="Leave out --limit, --cursor, --oldest-first and --columns.",
        )
    from durablectl.cli.terminal.list_pages import Layout, print_pages

    chosen = read_columns(columns, output.format)

    async with AsyncExitStack() as connection:
        store = await connection.enter_async_context(open_store(settings))
        with ReadProgress() as reading:
            if not count:
                pages = query.list_pages(
                    store,
                    filters,
                    limit or _LIMIT,
                    cursor=cursor,
                    oldest_first=oldest_first,
                    scan=scan,
                    progress=reading.show,
                )
                layout = Layout(
                    output, times, chosen, lambda views: query.find_typical_steps(store, views), connection.aclose
                )
                if not await print_pages(pages, layout, reading, lambda cursor: _command_again(context, cursor=cursor)):
                    await note_unknown_handlers(store, filters.handlers)
                return
            if scan or filters.needs_states:
                total = (await query.list_workflows(store, filters, 1, scan=scan, progress=reading.show)).total
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
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        with ReadProgress() as reading:
            counts = await query.get_stats(store, filters, progress=reading.show)
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


def _command_again(context: typer.Context, **changed: str) -> str:
    """The command line again, with other values for some options at its end; what may be a secret is left out."""
    given = {str(parameter.name): parameter.opts[0] for parameter in context.command.params}
    words = context.command_path.split()
    for name, flag in given.items():
        value = context.params.get(name)
        if name in changed or may_be_secret(name, value):
            continue
        if value is True:
            words.append(flag)
        elif value:
            words += [word for each in (value if isinstance(value, list) else [value]) for word in (flag, str(each))]
    return shlex.join([*words, *(word for name, value in changed.items() for word in (given[name], value))])
