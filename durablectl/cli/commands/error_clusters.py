"""`durablectl wf errors`: what workflows fail with, and the commands that retry them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from durablectl.cli import PROGRAM
from durablectl.cli.boundary import asynchronous
from durablectl.cli.connection_flags import given_connection_flags
from durablectl.cli.handler_notes import note_unknown_handlers
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.filters import filter_options
from durablectl.cli.options.output import with_output
from durablectl.cli.options.signatures import extend
from durablectl.cli.terminal.output import Output, OutputFormat, note, show, stdout_console
from durablectl.cli.terminal.progress import ReadProgress
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK, to_rfc3339
from durablectl.model.filters import parse_filters, to_flags
from durablectl.model.status import Status
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import ErrorCluster, Filters

R = TypeVar("R")

_LIMIT = 20


def _with_failed_filters(function: Callable[..., R]) -> Callable[..., R]:
    """Add the filters, but for --status; the command gets the keyword ``filters: Filters`` instead of them."""

    def provide(values: dict[str, Any]) -> dict[str, Any]:
        return {"filters": parse_filters({**values, "status": None})}

    return extend(function, "filters", filter_options("Filters", without={"status"}), provide)


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
@_with_failed_filters
async def errors(
    context: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many different errors.")] = _LIMIT,
    active: Annotated[bool, typer.Option("--active", help="What is retried now, instead of what has failed.")] = False,
    *,
    filters: Filters,
    settings: Settings,
    output: Output,
) -> None:
    """Show what workflows fail with, and how to retry them.

    The most frequent error comes first. Failures of a handler with the same error type are put together when their
    messages differ only in what <*> (numbers, ids and addresses), <path> and <time> stand for. Words, also in quotes,
    and codes such as HTTP 503 tell errors apart. Below each error: ids of the last ones, and the command that retries
    them all. It asks before it does; another error that holds the same text is retried along.

    Where all of a group ran last on one processor, or one version of durablectl, it is named.

    What failed because its child failed is counted with that child. With --active: the errors of steps that back off,
    and the command that tries them now.

    Example: durablectl wf errors --since 1h
    """
    if active and (filters.error or filters.waiting_for):
        raise UsageError(
            "--active is about steps that back off, but --error or --waiting-for was given too.",
            hint="Leave them out; choose with --handler or --step.",
        )
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        filters = await query.by_server_time(store, filters)
        with ReadProgress() as reading:
            found = await query.get_errors(store, filters, limit, active=active, progress=reading.show)
        if not found.errors:
            await note_unknown_handlers(store, filters.handlers)
    commands = [_command(cluster, filters, context, active=active) for cluster in found.errors]
    if output.is_json:
        objects = [
            {**cluster.to_json(), "command": command} for cluster, command in zip(found.errors, commands, strict=True)
        ]
        if output.format is OutputFormat.JSON:
            output.print_json({"errors": objects, "total": found.total, "failures": found.failures})
        else:
            for each in objects:
                output.print_json(each)
        return
    if not found.errors:
        note("No step backs off." if active else _nothing(filters))
        return
    from durablectl.cli.render.error_clusters import errors_lines, errors_table, rest_note

    if output.decorated:
        console = stdout_console()
        show(console, errors_table(found.errors, commands, SYSTEM_CLOCK.now(), console.width))
    else:
        typer.echo(errors_lines(found.errors, commands))
    if rest := rest_note(found):
        note(f"{rest} --limit shows more.")


def _nothing(filters: Filters) -> str:
    since = to_rfc3339(filters.since)
    return f"No failures since {since}." if since else "No failures."


def _command(cluster: ErrorCluster, filters: Filters, context: typer.Context, *, active: bool) -> str:
    """What retries these failures: with the connection and the other filters of this command."""
    if active:
        step = cluster.steps[0].step_type if len(cluster.steps) == 1 else filters.step
        waiting = replace(filters, handlers=frozenset({cluster.handler}), step=step)
        return shlex.join([PROGRAM, "wf", "retry-now", *given_connection_flags(context), *to_flags(waiting)])
    failures = replace(
        filters,
        statuses=frozenset({Status.FAILED}),
        handlers=frozenset(cluster.outermost or {cluster.handler}),
        error=cluster.literal or filters.error,
        since=cluster.first_at or filters.since,
    )
    return shlex.join([PROGRAM, "wf", "retry", *given_connection_flags(context), *to_flags(failures)])
