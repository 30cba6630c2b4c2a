"""The workflows that a workflow started, each on a line under the step that did."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import one_line
from durablectl.cli.render.status_sentence import error_text, status_sentence, workflow_symbol
from durablectl.cli.render.table import shortened
from durablectl.cli.render.workflow_cells import step_dots
from durablectl.model.kinds import StepKind
from durablectl.model.operation_kinds import STARTS_CHILD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durablectl.query import StepView, WorkflowView

_INDENT = "     └ "
_LEAST = 20


def children_below(
    view: WorkflowView, children: Sequence[WorkflowView], now: int, width: int | None
) -> Mapping[int, Text]:
    """By the number of the step that started the child: symbol, id, its steps as dots, and what it does or came to."""
    found = {child.invocation_id: child for child in children}
    left = dict.fromkeys(view.children)
    below: dict[int, Text] = {}
    for step in view.journal or ():
        child_id = started_child(step)
        if child_id in left:
            del left[child_id]
            below[step.step_number] = _line(child_id, found.get(child_id), now, width)
    return below


def started_child(step: StepView) -> str:
    """The id of the child that the step started or waits for; empty for any other step."""
    if step.kind in STARTS_CHILD and isinstance(step.response, str):
        return step.response
    return step.awaited_id if step.kind == StepKind.CHILD else ""


def children_summary(view: WorkflowView, children: Sequence[WorkflowView]) -> str:
    """``3: 2 completed, 1 failed``; empty without children."""
    if not view.children:
        return ""
    counts = Counter(child.status for child in children)
    counts.update({"gone": len(view.children) - len(children)})
    return f"{len(view.children):,}: {', '.join(f'{number:,} {name}' for name, number in counts.items() if number)}"


def _line(child_id: str, child: WorkflowView | None, now: int, width: int | None) -> Text:
    line = Text(_INDENT, style="dim")
    if child is None:
        return line.append(f"? {one_line(child_id)}  not there any more")
    line = Text.assemble(line, workflow_symbol(child), f" {one_line(child_id)}  ", step_dots(child))
    told = f"  {error_text(child) or status_sentence(child, now)}"
    room = len(told) if width is None else max(_LEAST, width - line.cell_len)
    return line.append(shortened(told, room), style=workflow_symbol(child).style)
