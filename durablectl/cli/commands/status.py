"""`durablectl status`: what is in trouble, what moves, and what is fine, on one screen."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.connection_flags import given_connection_flags
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.hung_after import HungAfter, hung_limit_us
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.follow import end_with_reader, log_warnings
from durablectl.cli.terminal.output import Output, OutputFormat, show, stdout_console
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from durablectl.query import StatusReport

NEEDS_PERSON = 1


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
async def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every 2 s, until Ctrl-C.")] = False,
    hung_after: HungAfter = None,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Say what is in trouble and why, worst first, with the command that helps; then what moves.

    Reads the index, and the records of what does not move. The exit code is 1 when something needs a person. What is
    only noted does not count: a pause by a person, a wait for an answer of less than an hour, a retry or a backlog of
    less than 30 s, processors of several versions.

    Example: durablectl status --watch
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    limit_us = hung_limit_us(hung_after)
    connection = given_connection_flags(context)
    async with open_store(settings) as store:
        if watch:
            reports = query.watch_status(store, hung_after=limit_us)
            return await _follow(reports, output, connection)
        report = await query.get_status(store, hung_after=limit_us)
    _print(report, output, connection)
    return _code(report)


def _code(report: StatusReport | None) -> int:
    return NEEDS_PERSON if report is not None and report.needs_person else 0


def _print(report: StatusReport, output: Output, connection: Sequence[str]) -> None:
    if output.is_json:
        output.print_json(report.to_json(connection))
        return
    from durablectl.cli.render.status import status_lines, status_page

    if not output.decorated:
        typer.echo(status_lines(report, connection))
        return
    console = stdout_console()
    show(console, status_page(report, console.width, connection))


async def _follow(reports: AsyncGenerator[StatusReport, None], output: Output, connection: Sequence[str]) -> int:
    """Off a terminal, or as JSON, each look is a line, or a list of lines."""
    last: StatusReport | None = None
    async with contextlib.aclosing(reports):
        if output.decorated and not output.is_json:
            from durablectl.cli.terminal.live_screen import StatusScreen

            return _code(await StatusScreen(connection).show(reports))
        one_line = Output(OutputFormat.JSONL if output.is_json else output.format, output.decorated)
        with log_warnings(), end_with_reader():
            async for last in reports:
                _print(last, one_line, connection)
    return _code(last)
