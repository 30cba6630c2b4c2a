"""What retries have dropped from a journal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.journal import journal_lines, journal_table
from durablectl.cli.render.wording import age, iso, one_line, shortened
from durablectl.model.status import Status

if TYPE_CHECKING:
    from durablectl.query import DroppedView, WorkflowView


def dropped_tables(view: WorkflowView, now: int, width: int | None) -> list[Text]:
    """For a terminal: a part for each retry, the first one first."""
    return [
        Text.assemble(
            (f"Dropped {iso(dropped.dropped_at)}", "bold"),
            (f"  {age(dropped.dropped_at, now)} ago\n", "dim"),
            one_line(dropped.reason) if width is None else shortened(one_line(dropped.reason), width),
            "\n",
            journal_table(_as_it_was(view, dropped), now, width) if dropped.steps else ("  no step", "dim"),
        )
        for dropped in view.history or ()
    ]


def dropped_lines(view: WorkflowView) -> list[str]:
    """For a pipe."""
    return [
        f"Dropped\t{iso(dropped.dropped_at)}\t{one_line(dropped.reason)}\n{journal_lines(_as_it_was(view, dropped))}"
        for dropped in view.history or ()
    ]


def _as_it_was(view: WorkflowView, dropped: DroppedView) -> WorkflowView:
    return replace(view, status=Status.FAILED, current_step=-1, waiting_for=None, journal=dropped.steps)
