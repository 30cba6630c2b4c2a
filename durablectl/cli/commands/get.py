"""`durablectl wf get`: one workflow, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import StepsOption, with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.user_input import parse_step_range
from durablectl.settings import Settings


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.WIDE, OutputFormat.JSON, OutputFormat.JSONL), paged=True)
@with_times
async def get(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    steps: StepsOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Also who changed it, and the steps that retries have dropped.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Shorten no value; the same as -o wide.")] = False,
    *,
    times: TimeFormat,
    settings: Settings,
    output: Output,
) -> None:
    """Show one workflow, step by step.

    What it does or waits for, its steps with requests and results and the workflows that they started, its output or
    error with the traceback. On a terminal long values are shortened; --full shows them whole.

    Example: durablectl wf get order-17 --steps 0:20
    """
    shown = parse_step_range(steps, "--steps")

    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view = await query.get_workflow(store, invocation_id, steps=shown)
        children = await query.get_children(store, view) if view.children else []
        changes = await query.list_audit(store, invocation_id) if history else []
        usual = await query.find_typical_steps(store, [view]) if output.decorated and not output.is_json else {}
    if output.is_json:
        told = [record.to_json() for record in changes] if history else None
        child_workflows = [replace(child, journal=None).to_json() for child in children]
        output.print_json({**view.to_json(), "child_workflows": child_workflows, "changes": told})
        return
    from durablectl.cli.render.workflow import workflow_page, workflow_text

    now = SYSTEM_CLOCK.now()
    if not output.decorated:
        typer.echo(workflow_text(view, now, children=children, history=history, changes=changes, times=times))
        return
    console = stdout_console()
    page = workflow_page(
        view,
        now,
        console.width,
        children=children,
        usual=usual.get(view.handler, 0),
        full=full or output.format is OutputFormat.WIDE,
        history=history,
        changes=changes,
        times=times,
    )
    output.show(console, page)
