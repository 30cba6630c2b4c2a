"""The screen of `durablectl demo`: the pieces, the board, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from durablectl.cli.render.stack import commands, demo_rows, pieces
from durablectl.cli.render.status_sentence import has_current
from durablectl.cli.render.workflow_cells import board, happening
from durablectl.model.status import is_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from durablectl.cli.stack import StackView
    from durablectl.query import WorkflowView


def demo_screen(
    stack: StackView,
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
        pieces(demo_rows(stack)),
        "",
        board(workflows, now, width) if workflows else "",
        "",
        _progress(workflows, total, elapsed, width),
        Text.assemble((who, "cyan"), "  " if who else "", what),
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
            commands(["durablectl dev"]),
            Text("and in another terminal:"),
            commands(["""durablectl wf start async_workflow --input '"user-001"' --wait""", "durablectl wf list"]),
        ]
    )


def change_line(workflow: WorkflowView, now: int) -> str:
    """A change off a terminal: id, handler, status, and the step, result or error, with tabs between."""
    retrying = workflow.waiting_for is not None
    detail = workflow.current_step_type if has_current(workflow) and not retrying else happening(workflow, now).plain
    return f"{workflow.invocation_id}\t{workflow.handler}\t{workflow.status}\t{detail}"
