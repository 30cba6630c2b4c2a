"""Printing a list of workflows that comes in pages, however long it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from durablectl.cli.terminal.output import Output, OutputFormat, note, stdout_console
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.query import WorkflowPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from durablectl.cli.render.formatting import TimeFormat
    from durablectl.cli.render.list import Look
    from durablectl.cli.terminal.progress import ReadProgress
    from durablectl.query import WorkflowView


@dataclass(frozen=True)
class Layout:
    """What the user asked for. ``usual`` reads how many steps the runs of these workflows' handlers usually have.

    ``close`` ends the connection, which is not needed while somebody reads the table in a pager.
    """

    output: Output
    times: TimeFormat
    columns: Sequence[str]
    usual: Callable[[Sequence[WorkflowView]], Awaitable[Mapping[str, int]]]
    close: Callable[[], Awaitable[None]]

    async def look(self, views: Sequence[WorkflowView]) -> Look:
        from durablectl.cli.render.list import Look

        has_progress = "progress" in self.columns if self.columns else self.output.decorated
        usual = await self.usual(views) if has_progress else {}
        return Look(self.times, self.columns, self.output.format is OutputFormat.WIDE, usual)


async def print_pages(
    pages: AsyncIterator[WorkflowPage], layout: Layout, reading: ReadProgress, again: Callable[[str], str]
) -> int:
    """As they come, where the format allows it; how many. ``again`` is the command that goes on behind a cursor."""
    output = layout.output
    at_once = output.format is OutputFormat.JSON or (output.decorated and not _is_by_line(output))
    kept: list[WorkflowView] = []
    shown, total, cursor = 0, 0, ""
    async for page in pages:
        if at_once:
            kept += page.workflows
        else:
            reading.clear()
            await _print_rows(page, layout, header=not shown)
        shown += len(page.workflows)
        total, cursor = total or page.total, page.next_cursor
    reading.clear()
    if at_once:
        await _print_whole(WorkflowPage(kept, total, cursor), layout)
    if output.format is not OutputFormat.JSON:
        _tell_rest(shown, total, again(cursor) if cursor else "", output)
    return shown


def _is_by_line(output: Output) -> bool:
    return output.format in {OutputFormat.JSONL, OutputFormat.NAME}


async def _print_whole(page: WorkflowPage, layout: Layout) -> None:
    if layout.output.is_json:
        layout.output.print_json(page.to_json())
    elif page.workflows:
        from durablectl.cli.render.list import workflow_table

        console, look = stdout_console(), await layout.look(page.workflows)
        await layout.close()
        layout.output.show(console, workflow_table(page.workflows, SYSTEM_CLOCK.now(), console.width, look))


async def _print_rows(page: WorkflowPage, layout: Layout, *, header: bool) -> None:
    if layout.output.is_json:
        for view in page.workflows:
            layout.output.print_json(view.to_json())
    elif layout.output.format is OutputFormat.NAME:
        for view in page.workflows:
            typer.echo(view.invocation_id)
    elif page.workflows:
        from durablectl.cli.render.list import workflow_lines

        lines = workflow_lines(page.workflows, SYSTEM_CLOCK.now(), await layout.look(page.workflows))
        typer.echo(lines if header else lines.partition("\n")[2])


def _tell_rest(shown: int, total: int, command: str, output: Output) -> None:
    """What the list does not show, on standard error; of ids and JSON lines only if there is more."""
    from durablectl.cli.render.list import rest_note

    if _is_by_line(output) and not command:
        return
    if told := rest_note(shown, total, more=bool(command)):
        note(told)
    if command and output.decorated and not output.is_json:
        note(f"Next page: {command}", dim=True)
