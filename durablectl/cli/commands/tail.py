"""`durablectl wf tail`: every state change of many workflows, a line each, pushed by JetStream."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_from
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.filters import filter_options
from durablectl.cli.options.output import with_output
from durablectl.cli.options.signatures import extend
from durablectl.cli.terminal.follow import end_with_reader, log_warnings
from durablectl.cli.terminal.output import Output, OutputFormat, is_decorated, note, print_json, show, stdout_console
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.filters import FILTERS, parse_filters
from durablectl.model.status import Status
from durablectl.model.user_input import parse_past_time
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.query import StateChange, TailFilters

R = TypeVar("R")

_DELETED = "deleted"
_OF_LAST_CHANGE = frozenset({"since", "until"})
"""Every change is the last one, and tail's own --since says where to begin."""
_STATUS_HELP = "Only this status after the change, or 'deleted'; repeatable. 'active': all that have not ended."


def _with_tail_filters(function: Callable[..., R]) -> Callable[..., R]:
    """Add the filters, but for the times of the last change; the command gets the keyword ``filters: TailFilters``.

    Nothing is read for those that read records elsewhere, so their help is that of the API.
    """
    texts = {each.name: each.description for each in FILTERS if each.reads_records} | {"status": _STATUS_HELP}
    completers = {"status": complete_from([*Status, "active", _DELETED])}
    added = filter_options("Filters", without=_OF_LAST_CHANGE, completers=completers, **texts)

    def provide(values: dict[str, Any]) -> dict[str, Any]:
        from durablectl.query import TailFilters

        return {"filters": TailFilters.parse(values["status"] or (), parse_filters({**values, "status": None}))}

    return extend(function, "filters", added, provide)


@asynchronous
@with_connection
@with_output
@_with_tail_filters
async def tail(
    from_revision: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="First what last changed at revision N or later: one past the last line's goes on."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="First what last changed since then: 10m (ago), 2026-11-22 or RFC 3339."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after so many lines.")] = None,
    *,
    filters: TailFilters,
    settings: Settings,
    output: Output,
) -> None:
    """Print every state change, a line each, until Ctrl-C.

    Off a terminal: time, status, id, handler, step number, step, revision and error, with tabs between. With --json,
    the object of `wf list` on a line, its "revision" included.

    The server keeps one state a workflow: of several quick changes while the connection is lost, and with
    --from-revision or --since, only the last one of each workflow is seen. No workflow is missed. Of a deleted one only
    the id is left: with filters its line comes only if they matched the last change of it that was seen. What the
    retention removes has no line.

    Example: durablectl wf tail --status failed --since 10m --json
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    if from_revision is not None and since is not None:
        raise UsageError("--from-revision and --since both say where to begin.", hint="Give one of them.")
    moment = _parse_since(since, SYSTEM_CLOCK.now())
    tell = _printer(output)
    left = limit
    with log_warnings(), end_with_reader():
        async with AsyncExitStack() as connection:
            store = await connection.enter_async_context(open_store(settings))
            filters = replace(filters, attributes=await query.by_server_time(store, filters.attributes))
            if moment:
                moment = _parse_since(since, await query.server_time(store))
            changes = await connection.enter_async_context(
                query.tail(store, filters, from_revision=from_revision or 0, since=moment)
            )
            if output.decorated and not output.is_json and is_decorated(sys.stderr):
                note("Following every change; Ctrl-C ends it.")
            async for change in changes:
                tell(change)
                if left is not None:
                    left -= 1
                    if not left:
                        return


def _parse_since(since: str | None, now: int) -> int:
    return 0 if since is None else parse_past_time(since, "--since", now)


def _printer(output: Output) -> Callable[[StateChange], None]:
    if output.is_json:
        return lambda change: print_json(change.to_json(), one_line=True)
    if output.format is OutputFormat.NAME:
        return lambda change: typer.echo(change.view.invocation_id)
    from durablectl.cli.render.tail import TailLines, tail_line

    wide = output.format is OutputFormat.WIDE
    if not output.decorated:
        return lambda change: typer.echo(tail_line(change, wide=wide))
    console, lines = stdout_console(), TailLines()
    return lambda change: show(console, lines.line(change, SYSTEM_CLOCK.now(), console.width, wide=wide))
