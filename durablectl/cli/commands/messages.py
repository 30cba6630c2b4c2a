"""`durablectl wf signal`, `resolve` and `reject`: what comes in from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.bulk import print_result
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.json_input import read_input
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat
from durablectl.settings import Settings

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
_Data = Annotated[str | None, typer.Option("--data", "-d", metavar="JSON|@FILE|-", help="The value to send, as JSON.")]
_Awakeable = Annotated[str, typer.Argument(metavar="AWAKEABLE_ID", help="As `wf get` shows it: <workflow id>.<name>.")]


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def signal(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the workflow receives with ctx.signal(NAME).")],
    data: _Data = None,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Send a signal to a workflow.

    It receives those of a name in the order sent.

    Example: durablectl wf signal order-17 item-added --data '{"sku": "A-7"}'
    """
    value = read_input(data, "--data")

    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.signal(store, invocation_id, name, value), output)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def resolve(awakeable_id: _Awakeable, data: _Data = None, *, settings: Settings, output: Output) -> None:
    """Answer an awakeable.

    The workflow need not wait for it yet.

    Example: durablectl wf resolve order-17.approval --data '{"approved": true}'
    """
    value = read_input(data, "--data")

    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.resolve(store, awakeable_id, value), output)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def reject(
    awakeable_id: _Awakeable,
    error: Annotated[str, typer.Option("--error", "-e", metavar="TEXT", help="Why; the workflow sees it.")],
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Answer an awakeable with an error.

    The workflow sees a failed step.

    Example: durablectl wf reject order-17.approval --error 'over budget'
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.reject(store, awakeable_id, error), output)
