"""Cells of a table of workflows: status, steps, how long it has taken, what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import compact, duration, elapsed, one_line, value
from durablectl.cli.render.status_sentence import (
    error_text,
    has_current,
    is_open,
    is_retrying,
    retry_cause,
    status_sentence,
    steps_done,
    wait_sentence,
)
from durablectl.cli.render.symbols import FAILED, RETRYING, Symbol, status_symbol
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from durablectl.query import WorkflowView

_MOST_DOTS = 10
_BAR_CELLS = 6


def step_dots(view: WorkflowView) -> Text:
    """``●●◐``: steps done, and the one under way; past ten of them also the count."""
    done = steps_done(view)
    failed = [bool(step.error) for step in view.journal or () if not is_open(step)] or [False] * done
    dots = Text()
    for was_failure in failed[:_MOST_DOTS]:
        dots.append(*(FAILED if was_failure else Symbol("●", "green")))
    if done > _MOST_DOTS:
        dots.append(f" {done:,}", style="green")
    if has_current(view):
        symbol = RETRYING if is_retrying(view) else Symbol("◐", status_symbol(view.status).style)
        dots.append(*symbol)
    elif view.status == Status.FAILED and view.journal is not None and not any(failed):
        dots.append(*FAILED)
    return dots


def activity(view: WorkflowView, now: int) -> Text:
    """The step under way and how long it has run, what the workflow waits for, or what came of it."""
    reason = view.waiting_for
    if view.status == Status.COMPLETED:
        return Text(f"→ {value(view.output)}", style="dim")
    if view.error or view.reason:
        return Text(error_text(view) or one_line(view.reason), style=status_symbol(view.status).style)
    if reason is not None and reason.kind == WaitKind.RETRY:
        return Text(retry_cause(reason, now), style=RETRYING.style)
    if reason is not None and view.status != Status.PAUSED:
        return Text(wait_sentence(reason, now), style="yellow")
    if has_current(view) and (view.status != Status.PAUSED or view.owner):
        return Text.assemble(one_line(view.current_step_type), (f"  {elapsed(now - view.updated_at)}", "dim"))
    return Text("")


def status_cell(view: WorkflowView) -> Text:
    return Text(one_line(view.status), style=status_symbol(view.status).style)


def duration_cell(view: WorkflowView, now: int) -> str:
    """How long it took from its start to its end, or has taken until now."""
    if not view.started_at:
        return ""
    return compact(duration(view.finished_at - view.started_at) if view.finished_at else elapsed(now - view.started_at))


def detail(view: WorkflowView, now: int) -> Text:
    """The current step as ``2 HelloService.SayHello  1.2 s``; otherwise as on the board."""
    told = activity(view, now)
    if view.status == Status.PENDING and not told.plain:
        return Text(status_sentence(view, now), style="dim")
    if not has_current(view) or not told.plain or view.reason or view.waiting_for is not None:
        return told
    return Text.assemble(f"{view.current_step} ", told)


def progress_bar(view: WorkflowView, usual: int) -> Text:
    """``████░░ 4/6``; empty where ``usual`` is 0, and for one not started, ended, or with more steps done than that."""
    done = steps_done(view)
    if not (usual and view.started_at) or done > usual or is_terminal(view.status):
        return Text("")
    full = _BAR_CELLS * done // usual
    style = status_symbol(view.status).style
    return Text.assemble(("█" * full, style), ("░" * (_BAR_CELLS - full), "dim"), f" {done:,}/{usual:,}")
