"""How far a workflow is, of as many steps as its handler usually has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.status_sentence import steps_done
from durablectl.cli.render.symbols import status_sign
from durablectl.model.status import is_terminal

if TYPE_CHECKING:
    from durablectl.query import WorkflowView

_CELLS = 6


def progress_bar(view: WorkflowView, usual: int) -> Text:
    """``████░░ 4/6``; empty where ``usual`` is 0, and for one not started, ended, or with more steps done than that."""
    done = steps_done(view)
    if not (usual and view.started_at) or done > usual or is_terminal(view.status):
        return Text("")
    full = _CELLS * done // usual
    style = status_sign(view.status).style
    return Text.assemble(("█" * full, style), ("░" * (_CELLS - full), "dim"), f" {done:,}/{usual:,}")
