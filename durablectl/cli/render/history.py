"""What retries have dropped from a journal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.options.times import RELATIVE
from durablectl.cli.render.formatting import dated, iso, one_line, shortened
from durablectl.cli.render.journal import journal_lines, journal_table
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.cli.options.times import Times
    from durablectl.query import DroppedView, WorkflowView


def dropped_tables(view: WorkflowView, now: int, width: int | None, times: Times = RELATIVE) -> list[Text]:
    """For a terminal: a part for each retry, the first one first."""
    return [
        Text.assemble(
            (f"Dropped {dated(times, dropped.dropped_at, now)}\n", "bold"),
            one_line(dropped.reason) if width is None else shortened(one_line(dropped.reason), width),
            "\n",
            journal_table(_as_it_was(view, dropped), now, width, times=times)
            if dropped.steps
            else ("  no step", "dim"),
        )
        for dropped in view.history or ()
    ]


def dropped_lines(view: WorkflowView, tell: Callable[[int], str] = iso) -> list[str]:
    """For a pipe; ``tell`` writes a moment."""
    return [
        f"Dropped\t{tell(dropped.dropped_at)}\t{one_line(dropped.reason)}\n"
        f"{journal_lines(_as_it_was(view, dropped), tell)}"
        for dropped in view.history or ()
    ]


def _as_it_was(view: WorkflowView, dropped: DroppedView) -> WorkflowView:
    return replace(view, status=Status.FAILED, current_step=-1, waiting_for=None, journal=dropped.steps)
