"""`durablectl wf start`: start a workflow."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.commands.result import TIMEOUT, parse_timeout, print_outcome
from durablectl.cli.completion.completers import complete_handler
from durablectl.cli.handler_notes import note_unserved_handler
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.json_input import read_input
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, note
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_future_time, parse_time
from durablectl.settings import Settings

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def start(
    handler: Annotated[
        str, typer.Argument(metavar="HANDLER", help="The workflow's registered name.", autocompletion=complete_handler)
    ],
    input_text: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input, as JSON.")
    ] = None,
    invocation_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The invocation id; without it one is made.")
    ] = None,
    partition_key: Annotated[str | None, typer.Option(metavar="KEY", help="The partition of the command.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help="Begin after so long: 30s, 15m, 3d.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin then: 2026-11-22, 2026-11-22T09:00 (local) or RFC 3339.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and print the output.")] = False,
    timeout: Annotated[str | None, TIMEOUT] = None,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Start a workflow and print its invocation id.

    With --wait, print its output instead, and exit with 10 if it failed, 11 if it was cancelled, 5 after --timeout.

    Example: durablectl wf start checkout --input '"user-001"' --id order-17
    """
    if timeout is not None and not wait:
        raise UsageError("--timeout is about --wait, which was not given.", hint="Add --wait, or leave --timeout out.")
    limit = parse_timeout(timeout)
    _parse_start(delay, at, SYSTEM_CLOCK.now())
    value = read_input(input_text)

    from durablectl import control, query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        start_at = 0
        if delay is not None or at is not None:
            start_at = _check_future(_parse_start(delay, at, await query.server_time(store)), at)
        request = control.StartRequest(handler, value, invocation_id, partition_key, start_at)
        started = await control.start(store, request)
        if wait and not output.is_json:
            note(f"Started {started}.")
        elif output.is_json and not wait:
            output.print_json({"invocation_id": started})
        elif not wait:
            typer.echo(started)
        await note_unserved_handler(store, handler)
        return await print_outcome(store, started, limit, output) if wait else 0


def _parse_start(delay: str | None, at: str | None, now: int) -> int:
    """In microseconds; 0 for at once."""
    if delay is not None and at is not None:
        raise UsageError("--delay and --at were given, but there is one start.", hint="Give only one of them.")
    if delay is not None:
        return parse_future_time(delay, "--delay", now)
    return 0 if at is None else parse_time(at, "--at")


def _check_future(start_at: int, at: str | None) -> int:
    """UsageError for a start that lies in the past, by the server's clock."""
    if start_at < SYSTEM_CLOCK.now():
        raise UsageError(f"The --at cannot be used: {at!r} lies in the past.", hint="Leave --at out to start now.")
    return start_at
