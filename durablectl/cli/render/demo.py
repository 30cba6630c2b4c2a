"""The screen of `durablectl demo`: the pieces, the board, and how far it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from durablectl.cli.render.formatting import one_line
from durablectl.cli.render.local_stack import command_lines, component_table, demo_rows
from durablectl.cli.render.status_sentence import has_current, workflow_symbol
from durablectl.cli.render.table import Column, names, plain, table
from durablectl.cli.render.workflow_cells import activity, duration_cell, status_cell, step_dots
from durablectl.model.status import is_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from durablectl.cli.render.local_stack import LocalStackView
    from durablectl.query import WorkflowView


def demo_screen(
    stack: LocalStackView,
    workflows: Sequence[WorkflowView],
    total: int,
    caption: tuple[str, str],
    *,
    now: int,
    elapsed: float,
    width: int,
) -> RenderableType:
    """One frame. ``total`` is how many workflows there will be, ``caption`` who is talked about and what is said.

    ``now`` is in microseconds, ``elapsed`` in seconds, ``width`` in columns.
    """
    who, what = caption
    return Group(
        Text.assemble(("durablectl demo", "bold"), ("  durable workflows on NATS JetStream", "dim")),
        "",
        component_table(demo_rows(stack)),
        "",
        workflow_board(workflows, now, width) if workflows else "",
        "",
        _progress(workflows, total, elapsed, width),
        Text.assemble((who, "cyan"), "  " if who else "", what),
    )


def workflow_board(views: Sequence[WorkflowView], now: int, width: int) -> Text:
    """A table in the order given: symbol, id, handler, status, a dot for each step, and what goes on at ``now``.

    ``now`` is in microseconds, ``width`` in columns. Views with and without a journal both do.
    """
    return table(
        [
            Column("", [Text(*workflow_symbol(view, now)) for view in views]),
            plain("ID", [one_line(view.invocation_id) for view in views]),
            replace(names("HANDLER", [one_line(view.handler) for view in views], drop=3), floor=0),
            Column("STATUS", [status_cell(view) for view in views], drop=4),
            Column("STEPS", [step_dots(view) for view in views], drop=1),
            plain("TIME", [duration_cell(view, now) for view in views], drop=2, right=True),
            Column("NOW", [activity(view, now) for view in views], least=24),
        ],
        width,
    )


def _progress(workflows: Sequence[WorkflowView], total: int, elapsed: float, width: int) -> Table:
    ended = sum(is_terminal(workflow.status) for workflow in workflows)
    line = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=total, completed=ended, width=min(40, width // 2), finished_style="green")
    line.add_row(bar, Text(f"{ended} of {total} ended", "bold"), Text(f"{elapsed:.1f} s", "dim"))
    return line


def next_steps() -> Text:
    """What to try after the demo."""
    return Text("\n").join(
        [
            Text("Next, the same stack staying up, with its data kept in ./.durablectl:"),
            command_lines(["durablectl dev"]),
            Text("and in another terminal:"),
            command_lines(["""durablectl wf start async_workflow --input '"user-001"' --wait""", "durablectl wf list"]),
        ]
    )


def change_line(workflow: WorkflowView, now: int) -> str:
    """A change off a terminal: id, handler, status, and the step, result or error, with tabs between."""
    retrying = workflow.waiting_for is not None
    detail = workflow.current_step_type if has_current(workflow) and not retrying else activity(workflow, now).plain
    return f"{workflow.invocation_id}\t{workflow.handler}\t{workflow.status}\t{detail}"
