"""`durablectl wf get`, `wf list`, `wf stats` and `durablectl processors`: read, and render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completing import complete_status
from durablectl.cli.options import with_connection, with_output
from durablectl.cli.output import Output, OutputFormat, note, show, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import WorkflowPage

_Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only this status; repeatable. 'active' stands for all that have not ended.",
        autocompletion=complete_status,
    ),
]
_Handlers = Annotated[
    list[str] | None, typer.Option("--handler", metavar="HANDLER", help="Only this handler; repeatable.")
]


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.WIDE, OutputFormat.JSON, OutputFormat.JSONL))
async def get(
    invocation_id: Annotated[str, typer.Argument(metavar="ID")],
    history: Annotated[bool, typer.Option("--history", help="Also the steps that retries have dropped.")] = False,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Show one workflow, step by step.

    What it does or waits for, its steps with requests and results, its output or error with the traceback. On a
    terminal long values are shortened; -o wide shows them whole.
    """
    from durablectl import query
    from durablectl.storage.store import open_store

    async with open_store(settings) as store:
        view = await query.get_workflow(store, invocation_id)
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


@asynchronous
@with_connection
@with_output
async def list_(
    status: _Statuses = None,
    handler: _Handlers = None,
    limit: Annotated[int, typer.Option(help="At most so many, 1 to 1,000.")] = 50,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """List workflows, the newest first.

    Example: durablectl wf list --status failed --status paused --handler async_workflow
    """
    from durablectl import query
    from durablectl.storage.store import open_store

    filters = query.Filters.parse(status or (), handler or ())
    async with open_store(settings) as store:
        page = await query.list_workflows(store, filters, limit)
    _print_page(page, output)


def _print_page(page: WorkflowPage, output: Output) -> None:
    if output.format is OutputFormat.JSON:
        output.print_json(page.to_json())
        return
    if output.format is OutputFormat.JSONL:
        for view in page.workflows:
            output.print_json(view.to_json())
        return
    from durablectl.cli.render.listing import page_note, workflow_lines, workflow_table

    if output.format is OutputFormat.NAME:
        for view in page.workflows:
            typer.echo(view.invocation_id)
        return
    wide = output.format is OutputFormat.WIDE
    if page.workflows and output.decorated:
        console = stdout_console()
        show(console, workflow_table(page.workflows, SYSTEM_CLOCK.now(), console.width, wide=wide))
    elif page.workflows:
        typer.echo(workflow_lines(page.workflows, wide=wide))
    if told := page_note(page):
        note(told)


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
async def stats(status: _Statuses = None, handler: _Handlers = None, *, settings: Settings, output: Output) -> None:
    """Count workflows by status and by handler."""
    from durablectl import query
    from durablectl.storage.store import open_store

    filters = query.Filters.parse(status or (), handler or ())
    async with open_store(settings) as store:
        counts = await query.get_stats(store, filters)
    if output.is_json:
        output.print_json(counts.to_json())
        return
    from durablectl.cli.render.stats import stats_lines, stats_table

    if not output.decorated:
        typer.echo(stats_lines(counts))
        return
    console = stdout_console()
    show(console, stats_table(counts, console.width))


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
