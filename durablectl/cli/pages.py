"""Printing a list of workflows that comes in pages, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from durablectl.cli.output import Output, OutputFormat, note, show, stderr_console, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.query import WorkflowPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.cli.progress import Reading
    from durablectl.query import WorkflowView


async def print_pages(
    pages: AsyncIterator[WorkflowPage], output: Output, reading: Reading, again: Callable[[str], str]
) -> None:
    """As they come, where the format allows it. ``again`` is the command that goes on behind a cursor."""
    at_once = output.format is OutputFormat.JSON or (output.decorated and not _is_by_line(output))
    kept: list[WorkflowView] = []
    shown, total, cursor = 0, 0, ""
    async for page in pages:
        if at_once:
            kept += page.workflows
        else:
            reading.clear()
            _print_rows(page, output, header=not shown)
        shown += len(page.workflows)
        total, cursor = total or page.total, page.next_cursor
    reading.clear()
    if at_once:
        _print_whole(WorkflowPage(kept, total, cursor), output)
    if output.format is not OutputFormat.JSON:
        _tell_rest(shown, total, again(cursor) if cursor else "", output)


def _is_by_line(output: Output) -> bool:
    return output.format in {OutputFormat.JSONL, OutputFormat.NAME}


def _print_whole(page: WorkflowPage, output: Output) -> None:
    if output.is_json:
        output.print_json(page.to_json())
    elif page.workflows:
        from durablectl.cli.render.listing import workflow_table

        console, wide = stdout_console(), output.format is OutputFormat.WIDE
        show(console, workflow_table(page.workflows, SYSTEM_CLOCK.now(), console.width, wide=wide))


def _print_rows(page: WorkflowPage, output: Output, *, header: bool) -> None:
    if output.is_json:
        for view in page.workflows:
            output.print_json(view.to_json())
    elif output.format is OutputFormat.NAME:
        for view in page.workflows:
            typer.echo(view.invocation_id)
    elif page.workflows:
        from durablectl.cli.render.listing import workflow_lines

        lines = workflow_lines(page.workflows, wide=output.format is OutputFormat.WIDE)
        typer.echo(lines if header else lines.partition("\n")[2])


def _tell_rest(shown: int, total: int, command: str, output: Output) -> None:
    """What the list does not show, on standard error; of ids and JSON lines only if there is more."""
    from durablectl.cli.render.listing import rest_note

    if _is_by_line(output) and not command:
        return
    if told := rest_note(shown, total, more=bool(command)):
        note(told)
    if command and output.decorated and not output.is_json:
        from rich.text import Text

        show(stderr_console(), Text(f"Next page: {command}", style="dim"))
