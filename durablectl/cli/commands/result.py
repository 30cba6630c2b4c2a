"""`durablectl wf result`: wait for the end of a workflow, and print its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, print_json
from durablectl.model.user_input import parse_duration
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
TIMEOUT = typer.Option(metavar="DURATION", help="How long to wait for the end: 30s, 5m; without it, for ever.")


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def result(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    timeout: Annotated[str | None, TIMEOUT] = None,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Wait for the end and print the output.

    Exits with 10 if it failed, 11 if it was cancelled, 5 after --timeout. With --json it prints the whole workflow.

    Example: durablectl wf result order-17 --timeout 30s
    """
    limit = parse_timeout(timeout)

    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        return await print_outcome(store, invocation_id, limit, output)


async def print_outcome(store: Store, invocation_id: str, limit: float | None, output: Output) -> int:
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


def parse_timeout(timeout: str | None) -> float | None:
    return None if timeout is None else parse_duration(timeout, "--timeout")
