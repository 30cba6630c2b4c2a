"""`durablectl wf list`: workflows, a page at a time."""

from __future__ import annotations

import shlex
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.connection_flags import may_be_secret
from durablectl.cli.handler_notes import note_unknown_handlers
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.filters import with_filters
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import Output, OutputFormat, note, stdout_console
from durablectl.cli.terminal.progress import ReadProgress
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.text import did_you_mean
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from durablectl.cli.render.list import ListStyle
    from durablectl.query import Filters, WorkflowPage, WorkflowView

_LIMIT = 50
_ALIASES = {"age": "created"}


def _complete_columns(incomplete: str) -> list[str]:
    """Of the name behind the last comma."""
    from durablectl.cli.render.list import COLUMNS

    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in COLUMNS if name.startswith(last) and name not in taken]


@asynchronous
@with_connection
@with_output(paged=True)
@with_times
@with_filters
async def list_(
    context: typer.Context,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help=f"At most so many (default {_LIMIT}; all for -o name and jsonl in a pipe)."),
    ] = None,
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
            autocompletion=_complete_columns,
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
    chosen = _read_columns(columns, output.format)

    async with AsyncExitStack() as connection:
        store = await connection.enter_async_context(open_store(settings))
        filters = await query.by_server_time(store, filters)
        with ReadProgress() as reading:
            if not count:
                pages = query.list_pages(
                    store,
                    filters,
                    limit or (None if _is_by_line(output) and not output.decorated else _LIMIT),
                    cursor=cursor,
                    oldest_first=oldest_first,
                    scan=scan,
                    progress=reading.show,
                )
                layout = _Layout(
                    output, times, chosen, lambda views: query.find_typical_steps(store, views), connection.aclose
                )
                if not await _print_pages(
                    pages, layout, reading, lambda cursor: _repeat_command(context, cursor=cursor)
                ):
                    await note_unknown_handlers(store, filters.handlers)
                reading.note_read()
                return
            if scan or filters.needs_states:
                total = (await query.list_workflows(store, filters, 1, scan=scan, progress=reading.show)).total
            else:
                total = await query.count_workflows(store, filters)
            reading.note_read()
    if output.is_json:
        output.print_json({"total": total})
    else:
        typer.echo(total)


def _read_columns(text: str | None, output: OutputFormat) -> Sequence[str]:
    """The names of ``a,b,c`` of columns; none where none were given. UsageError lists them all."""
    if text is None:
        return ()
    if output not in (OutputFormat.TABLE, OutputFormat.WIDE):
        raise UsageError(
            f"--columns is about the table, but -o {output} was asked for.",
            hint="JSON holds every field: choose there with jq.",
        )
    return [*dict.fromkeys(_column(word.strip()) for word in text.split(","))]


def _column(word: str) -> str:
    from durablectl.cli.render.list import COLUMNS

    fields = {column.json_field: name for name, column in COLUMNS.items() if column.json_field}
    other_names = fields | _ALIASES
    name = other_names.get(word.lower(), word.lower())
    if name not in COLUMNS:
        guess = did_you_mean(name, [*COLUMNS, *other_names])
        raise UsageError(f"There is no column {word!r}.", hint=f"{guess}The columns are {', '.join(COLUMNS)}.")
    return name


def _repeat_command(context: typer.Context, **changed: str) -> str:
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


@dataclass(frozen=True)
class _Layout:
    """What the user asked for. ``usual`` reads how many steps the runs of these workflows' handlers usually have.

    ``close`` ends the connection, which is not needed while somebody reads the table in a pager.
    """

    output: Output
    times: TimeFormat
    columns: Sequence[str]
    usual: Callable[[Sequence[WorkflowView]], Awaitable[Mapping[str, int]]]
    close: Callable[[], Awaitable[None]]

    async def look(self, views: Sequence[WorkflowView]) -> ListStyle:
        from durablectl.cli.render.list import ListStyle

        has_progress = "progress" in self.columns if self.columns else self.output.decorated
        usual = await self.usual(views) if has_progress else {}
        return ListStyle(self.times, self.columns, self.output.format is OutputFormat.WIDE, usual)


async def _print_pages(
    pages: AsyncIterator[WorkflowPage], layout: _Layout, reading: ReadProgress, repeat_command: Callable[[str], str]
) -> int:
    """Print the pages as they arrive, where the format allows it. Returns how many workflows there were.

    ``repeat_command`` makes the command that continues behind a cursor.
    """
    from durablectl.query import WorkflowPage

    output = layout.output
    at_once = output.format is OutputFormat.JSON or (output.decorated and not _is_by_line(output))
    kept: list[WorkflowView] = []
    shown, total, cursor = 0, 0, ""
    async for page in pages:
        if at_once:
            kept += page.workflows
        else:
            reading.clear()
            await _print_rows(page, layout, header=not shown)
        shown += len(page.workflows)
        total, cursor = total or page.total, page.next_cursor
    reading.clear()
    if at_once:
        await _print_whole(WorkflowPage(kept, total, cursor), layout)
    if output.format is not OutputFormat.JSON:
        _note_rest(shown, total, repeat_command(cursor) if cursor else "", output)
    return shown


def _is_by_line(output: Output) -> bool:
    return output.format in {OutputFormat.JSONL, OutputFormat.NAME}


async def _print_whole(page: WorkflowPage, layout: _Layout) -> None:
    if layout.output.is_json:
        layout.output.print_json(page.to_json())
    elif page.workflows:
        from durablectl.cli.render.list import workflow_table

        console, look = stdout_console(), await layout.look(page.workflows)
        await layout.close()
        layout.output.show(console, workflow_table(page.workflows, SYSTEM_CLOCK.now(), console.width, look))


async def _print_rows(page: WorkflowPage, layout: _Layout, *, header: bool) -> None:
    if layout.output.is_json:
        for view in page.workflows:
            layout.output.print_json(view.to_json())
    elif layout.output.format is OutputFormat.NAME:
        for view in page.workflows:
            typer.echo(view.invocation_id)
    elif page.workflows:
        from durablectl.cli.render.list import workflow_lines

        lines = workflow_lines(page.workflows, SYSTEM_CLOCK.now(), await layout.look(page.workflows))
        typer.echo(lines if header else lines.partition("\n")[2])


def _note_rest(shown: int, total: int, command: str, output: Output) -> None:
    """What the list does not show, on standard error; of ids and JSON lines only if there is more."""
    from durablectl.cli.render.list import rest_note

    if _is_by_line(output) and not command:
        return
    if told := rest_note(shown, total, more=bool(command)):
        note(told)
    if command and output.decorated and not output.is_json:
        note(f"Next page: {command}", dim=True)
