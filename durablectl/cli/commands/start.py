"""`durablectl wf start` and `durablectl wf result`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_handler, complete_id
from durablectl.cli.handler_notes import with_guess
from durablectl.cli.options.json_input import read_input
from durablectl.cli.options.shared import with_connection, with_output
from durablectl.cli.terminal.output import Output, OutputFormat, note, print_json
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_duration, parse_future_time, parse_time
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
_TIMEOUT = typer.Option(metavar="DURATION", help="How long to wait for the end: 30s, 5m; without it, for ever.")


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
    timeout: Annotated[str | None, _TIMEOUT] = None,
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
    limit = _limit(timeout)
    start_at = _start_at(delay, at)
    value = read_input(input_text)

    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        request = control.StartRequest(handler, value, invocation_id, partition_key, start_at)
        started = await control.start(store, request)
        if wait and not output.is_json:
            note(f"Started {started}.")
        elif output.is_json and not wait:
            output.print_json({"invocation_id": started})
        elif not wait:
            typer.echo(started)
        await note_if_nobody_runs(store, handler)
        return await _outcome(store, started, limit, output) if wait else 0


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def result(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    timeout: Annotated[str | None, _TIMEOUT] = None,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Wait for the end and print the output.

    Exits with 10 if it failed, 11 if it was cancelled, 5 after --timeout. With --json it prints the whole workflow.

    Example: durablectl wf result order-17 --timeout 30s
    """
    limit = _limit(timeout)

    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        return await _outcome(store, invocation_id, limit, output)


async def _outcome(store: Store, invocation_id: str, limit: float | None, output: Output) -> int:
    from durablectl import control, query

    outcome = await control.wait_for_outcome(store, invocation_id, limit)
    await control.wait_until_listed(store, outcome.execution)
    view = await query.get_workflow(store, invocation_id)
    if output.is_json:
        output.print_json(view.to_json())
        return 0 if outcome.error is None else outcome.error.exit_code
    if outcome.error is not None:
        raise outcome.error
    print_json(view.output)
    return 0


async def note_if_nobody_runs(store: Store, handler: str) -> None:
    """Tell of a handler that no live processor has registered, on standard error."""
    from durablectl import query

    known = sorted({name for processor in await query.live_processors(store) for name in processor.handlers})
    if handler not in known:
        note(nobody_runs(handler, known))


def nobody_runs(handler: str, known: Iterable[str]) -> str:
    """What to tell of a start that waits for a processor; ``known`` is what the live ones have registered."""
    known = list(known)
    told = f"No live processor has registered the handler {handler!r}; the workflow waits until one does."
    return with_guess(told, handler, known, "Registered are") if known else f"{told} There is no live processor at all."


def _limit(timeout: str | None) -> float | None:
    return None if timeout is None else parse_duration(timeout, "--timeout")


def _start_at(delay: str | None, at: str | None) -> int:
    """In microseconds; 0 for at once."""
    now = SYSTEM_CLOCK.now()
    if delay is not None and at is not None:
        raise UsageError("--delay and --at were given, but there is one start.", hint="Give only one of them.")
    if delay is not None:
        return parse_future_time(delay, "--delay", now)
    if at is None:
        return 0
    start_at = parse_time(at, "--at")
    if start_at < now:
        raise UsageError(f"The --at cannot be used: {at!r} lies in the past.", hint="Leave --at out to start now.")
    return start_at
