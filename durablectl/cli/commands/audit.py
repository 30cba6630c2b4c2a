"""`durablectl audit`: who changed what, and when."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import Output, OutputFormat, note, show, stdout_console
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_past_time
from durablectl.settings import Settings

_LIMIT = 50
_ALL = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)


@asynchronous
@with_connection
@with_output(formats=_ALL)
@with_times
async def audit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[ID]",
            help="Only changes of this workflow or schedule, deleted or not.",
            autocompletion=complete_id,
        ),
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="At this time or later: 2h (ago), 2026-11-22 or RFC 3339.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")] = None,
    actor: Annotated[
        str, typer.Option(metavar="TEXT", help="Only actors, addresses or NATS users that contain TEXT.")
    ] = "",
    action: Annotated[
        str, typer.Option(metavar="WORD", help="Only this action: cancel, schedule.pause, or schedule for all of it.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The newest N changes; 50 by default, all in a pipe.")
    ] = None,
    *,
    times: TimeFormat,
    settings: Settings,
    output: Output,
) -> None:
    """Show who changed what, the newest change last.

    Changes by CLI, SDK and HTTP are recorded before they take effect, and kept for 90 days or 1,000,000 changes, also
    when the workflow is deleted.

    Example: durablectl audit --since 1h --action cancel
    """
    _parse_range(since, until, SYSTEM_CLOCK.now())
    is_whole = limit is None and not output.decorated
    number = None if is_whole else limit or _LIMIT

    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        now = await query.server_time(store) if since or until else SYSTEM_CLOCK.now()
        first, last = _parse_range(since, until, now)
        records = await query.list_audit(store, name, since=first, until=last, actor=actor, action=action, limit=number)
    if output.format is OutputFormat.JSON:
        output.print_json({"changes": [record.to_json() for record in records]})
        return
    if output.format is OutputFormat.JSONL:
        for record in records:
            output.print_json(record.to_json())
        return
    if not records:
        note("No change matches." if name or since or until or actor or action else "No change has been recorded.")
        return
    from durablectl.cli.render.audit import audit_lines, audit_table

    if not output.decorated:
        typer.echo(audit_lines(records, now, times))
        return
    console = stdout_console()
    show(console, audit_table(records, now, console.width, times))
    if number is not None and len(records) == number:
        note(f"The newest {number:,}; --limit shows more.")


def _parse_range(since: str | None, until: str | None, now: int) -> tuple[int, int]:
    """In microseconds; 0 for what is not given."""
    first = 0 if since is None else parse_past_time(since, "--since", now)
    last = 0 if until is None else parse_past_time(until, "--until", now)
    if first and last and first >= last:
        raise UsageError("--since is not before --until: no change can match.", hint="Exchange them.")
    return first, last
