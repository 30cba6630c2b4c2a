"""What is watched: a workflow with its steps and children as they happen, or the newest workflows with the counts."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.children import children_below, started_child
from durablectl.cli.render.formatting import count, one_line, value
from durablectl.cli.render.journal import journal_table
from durablectl.cli.render.list import workflow_table
from durablectl.cli.render.status_sentence import progress_sentence, workflow_symbol
from durablectl.cli.render.symbols import status_symbol
from durablectl.cli.render.table import shortened
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from durablectl.query import Board, WaitingView, WorkflowView

_AROUND = (4, 5, 6, 7)
"""Lines of a frame beside the steps, at least and at most: title, sentence, and what the journal adds to its rows."""
_INDENT = 7
_NO_CHILDREN: Mapping[str, WorkflowView | None] = MappingProxyType({})


def watch_frame(
    view: WorkflowView,
    now: int,
    width: int,
    height: int,
    failed_before: WaitingView | None,
    children: Mapping[str, WorkflowView | None] = _NO_CHILDREN,
    *,
    expanded: bool = False,
) -> Text:
    """What is live on the screen, at most ``height`` lines: of more steps than that, the newest.

    ``children`` are by id, None for one that is not there; ``expanded`` shows the steps of those with a journal.
    """
    below = _below(view, children, now, width, live=True, expanded=expanded)
    page = Text()
    for around in _AROUND:
        newest = _fitting(view, below, max(1, height - around))
        page = _watched(view, now, width, newest, failed_before, below, live=True)
        if page.plain.count("\n") < height:
            break
    return cropped(page, height)


def _fitting(view: WorkflowView, below: Mapping[int, Text], room: int) -> int:
    """How many of the newest steps there is room for, with what stands below them; at least one."""
    newest = 0
    for step in reversed(view.journal or ()):
        room -= 1 + (below[step.step_number].plain.count("\n") + 1 if step.step_number in below else 0)
        if room < 0 and newest:
            break
        newest += 1
    return newest


def watch_end(
    view: WorkflowView,
    now: int,
    width: int,
    children: Mapping[str, WorkflowView | None] = _NO_CHILDREN,
    *,
    expanded: bool = False,
) -> Text:
    """What stays in the scrollback: every step, and what came of it."""
    below = _below(view, children, now, width, live=False, expanded=expanded)
    page = _watched(view, now, width, None, None, below, live=False)
    if view.status == Status.COMPLETED:
        page.append("\n").append(shortened(f"→ {value(view.output)}", width))
    return page


def cropped(page: Text, height: int) -> Text:
    """Its title and its end, in at most ``height`` lines."""
    lines = page.split("\n")
    if len(lines) <= height:
        return page
    return Text("\n").join([*lines[: min(1, height - 1)], *lines[len(lines) - max(1, height - 1) :]])


def board_frame(board: Board, now: int, width: int, height: int) -> Text:
    """The counts by status, then as many of the workflows as fit into ``height`` lines."""
    counts = _counts(board, width)
    room = height - counts.plain.count("\n") - 3
    if not board.workflows or room < 1:
        return counts
    return Text.assemble(counts, "\n\n", workflow_table(board.workflows[:room], now, width))


def _counts(board: Board, width: int) -> Text:
    """``34 workflows: 30 running, 4 failed``, with the symbols of the statuses, between which lines may break."""
    total = sum(board.by_status.values())
    if not total:
        return Text("No workflows.", style="bold")
    words = [f"{count(total, 'workflow')}", *(f"{number:,} {name}" for name, number in board.by_status.items())]
    styles = ["bold", *(status_symbol(name).style for name in board.by_status)]
    symbols = ["", *(f"{status_symbol(name).glyph} " for name in board.by_status)]
    lines = [Text()]
    for told, style, mark in zip(words, styles, symbols, strict=True):
        part = Text(f"{mark}{one_line(told)}", style=style)
        if lines[-1].plain and lines[-1].cell_len + 3 + part.cell_len > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1].plain else "").append_text(part)
    return Text("\n").join(lines)


def _watched(
    view: WorkflowView,
    now: int,
    width: int,
    newest: int | None,
    failed_before: WaitingView | None,
    below: Mapping[int, Text],
    *,
    live: bool,
) -> Text:
    title = Text.assemble((one_line(view.handler), "bold"), "  ", (one_line(view.invocation_id), "dim"))
    steps = journal_table(
        view, now, width, newest=newest, live=live, explain=True, failed_before=failed_before, below=below
    )
    told = Text.assemble(
        workflow_symbol(view, now if live else None), " ", shortened(progress_sentence(view, now), width - 2)
    )
    told.stylize(workflow_symbol(view).style)
    return Text("\n").join(part for part in (title, steps, told) if part.plain)


def _below(
    view: WorkflowView,
    children: Mapping[str, WorkflowView | None],
    now: int,
    width: int,
    *,
    live: bool,
    expanded: bool,
) -> Mapping[int, Text]:
    """By the number of the step: the line of its child, and the child's steps where they are known."""
    heard = [child for child in view.children if child in children]
    if not heard:
        return {}
    known = [child for child in map(children.get, heard) if child is not None]
    below = dict(children_below(replace(view, children=heard), known, now, width))
    for step in (view.journal or ()) if expanded else ():
        child = children.get(started_child(step))
        if step.step_number in below and child is not None and child.journal is not None:
            steps = journal_table(child, now, width - _INDENT, live=live, explain=True).split("\n")[1:]
            lines = [Text(" " * _INDENT).append_text(line) for line in steps]
            below[step.step_number] = Text("\n").join([below[step.step_number], *lines])
    return below
