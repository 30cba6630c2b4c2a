"""`durablectl wf signal`, `resolve` and `reject`: what comes in from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.bulk import print_result
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.json_input import read_input
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, note, warn
from durablectl.cli.terminal.question import agrees, can_ask
from durablectl.errors import ConflictError
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.incoming import Target
    from durablectl.storage.connection.store import Store

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
_Data = Annotated[str | None, typer.Option("--data", "-d", metavar="JSON|@FILE|-", help="The value to send, as JSON.")]
_Awakeable = Annotated[str, typer.Argument(metavar="AWAKEABLE_ID", help="As `wf get` shows it: <workflow id>.<name>.")]
_Force = Annotated[
    bool, typer.Option("--force", help="Send it though the workflow has never asked for it and waits for another.")
]
_DECLINED = 1
_SHOWN = 3


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def signal(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the workflow receives with ctx.signal(NAME).")],
    data: _Data = None,
    force: _Force = False,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Send a signal to a workflow.

    It receives those of a name in the order sent. Where it waits for other signals, and has never asked for this one,
    the command asks first; off a terminal it sends nothing, and the exit code is 7.

    Example: durablectl wf signal order-17 item-added --data '{"sku": "A-7"}'
    """
    value = read_input(data, "--data")

    from durablectl import control, query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        if not force:
            waits = await query.awaited_instead_of_signal(store, invocation_id, name)
            if waits and not await _is_meant(f"the signal {name}", invocation_id, waits):
                return _DECLINED
        print_result(await control.signal(store, invocation_id, name, value), output)
    return 0


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def resolve(
    awakeable_id: _Awakeable, data: _Data = None, force: _Force = False, *, settings: Settings, output: Output
) -> int:
    """Answer an awakeable.

    The workflow need not wait for it yet. Where it waits for other awakeables, and has never asked for this one, the
    command asks first; off a terminal it sends nothing, and the exit code is 7.

    Example: durablectl wf resolve order-17.approval --data '{"approved": true}'
    """
    value = read_input(data, "--data")

    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        if not force and not await _is_answer_meant(store, awakeable_id):
            return _DECLINED
        print_result(await control.resolve(store, awakeable_id, value), output)
    return 0


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def reject(
    awakeable_id: _Awakeable,
    error: Annotated[str, typer.Option("--error", "-e", metavar="TEXT", help="Why; the workflow sees it.")],
    force: _Force = False,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Answer an awakeable with an error.

    The workflow sees a failed step. A name that looks misspelt is asked about as by `wf resolve`.

    Example: durablectl wf reject order-17.approval --error 'over budget'
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        if not force and not await _is_answer_meant(store, awakeable_id):
            return _DECLINED
        print_result(await control.reject(store, awakeable_id, error), output)
    return 0


async def _is_answer_meant(store: Store, awakeable_id: str) -> bool:
    from durablectl import query

    waits = await query.awaited_instead_of_answer(store, awakeable_id)
    workflow = awakeable_id.partition(".")[0]
    return not waits or await _is_meant(f"the awakeable {awakeable_id}", workflow, waits)


async def _is_meant(what: str, invocation_id: str, waits: Sequence[Target]) -> bool:
    """Whether to send what the workflow never asked for. ConflictError where there is no terminal to ask on."""
    others = [f"the {each.kind} {each.name}" for each in waits[:_SHOWN]]
    more = f" and {len(waits) - _SHOWN} more" if len(waits) > _SHOWN else ""
    found = f"{invocation_id} has never asked for {what}. It waits for {', '.join(others)}{more}."
    if not can_ask():
        raise ConflictError(
            f"{found} Nothing was sent.", hint="Correct the name, or add --force if the workflow will ask for it later."
        )
    warn(found)
    if await agrees("Send it all the same? It is kept until the workflow asks for it."):
        return True
    note("Nothing was sent.")
    return False
