"""`durablectl wf why`: what is the matter with a workflow, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.connection_flags import given_connection_flags
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.hung_after import HungAfter, hung_limit_us
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL), paged=True)
async def why(
    context: typer.Context,
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    hung_after: HungAfter = None,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Say why a workflow is as it is, and what to do about it.

    A sentence, the facts behind it with their times, and the commands that mend it or show more. Of a workflow that
    waits for a child, or failed with it, the same about the child.

    Example: durablectl wf why order-17
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    limit_us = hung_limit_us(hung_after)
    async with open_store(settings) as store:
        reason = await query.explain_workflow(store, invocation_id, hung_after=limit_us)
    from durablectl.cli.render.why import why_json, why_page, why_text

    now, connection = SYSTEM_CLOCK.now(), given_connection_flags(context)
    if output.is_json:
        output.print_json(why_json(reason, now, connection))
    elif output.decorated:
        console = stdout_console()
        output.show(console, why_page(reason, now, console.width, connection))
    else:
        typer.echo(why_text(reason, now, connection))
