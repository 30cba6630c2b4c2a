"""Several workflows at once, each on a line with its progress: what ``durablectl demo`` shows live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import clock, compact, duration, one_line, value
from durablectl.cli.render.status_sentence import (
    failure,
    has_current,
    is_open,
    is_retrying,
    next_attempt,
    sign,
    steps_done,
    waiting,
)
from durablectl.cli.render.symbols import FAILED, RETRYING, Sign, status_sign
from durablectl.cli.render.table import Column, plain, table
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query import WorkflowView

_MOST_DOTS = 10


def board(views: Sequence[WorkflowView], now: int, width: int) -> Text:
    """A table in the order given: sign, id, handler, status, a dot for each step, and what goes on at ``now``.

    ``now`` is in microseconds, ``width`` in columns. Views with and without a journal both do.
    """
    return table(
        [
            Column("", [Text(*sign(view, now)) for view in views]),
            plain("ID", [one_line(view.invocation_id) for view in views]),
            plain("HANDLER", [one_line(view.handler) for view in views], drop=3),
            Column("STATUS", [status(view) for view in views], drop=4),
            Column("STEPS", [progress(view) for view in views], drop=1),
            plain("TIME", [time(view, now) for view in views], drop=2, right=True),
            Column("NOW", [happening(view, now) for view in views], least=24),
        ],
        width,
    )


def progress(view: WorkflowView) -> Text:
    """``●●◐``: steps done, and the one under way; past ten of them also the count."""
    done = steps_done(view)
    failed = [bool(step.error) for step in view.journal or () if not is_open(step)] or [False] * done
    dots = Text()
    for was_failure in failed[:_MOST_DOTS]:
        dots.append(*(FAILED if was_failure else Sign("●", "green")))
    if done > _MOST_DOTS:
        dots.append(f" {done:,}", style="green")
    if has_current(view):
        sign = RETRYING if is_retrying(view) else Sign("◐", status_sign(view.status).style)
        dots.append(*sign)
    elif view.status == Status.FAILED and view.journal is not None and not any(failed):
        dots.append(*FAILED)
    return dots


def happening(view: WorkflowView, now: int) -> Text:
    """The step under way and how long it has run, what the workflow waits for, or what came of it."""
    reason = view.waiting_for
    if view.status == Status.COMPLETED:
        return Text(f"→ {value(view.output)}", style="dim")
    if view.error or view.reason:
        return Text(failure(view) or one_line(view.reason), style=status_sign(view.status).style)
    if reason is not None and reason.kind == "retry":
        told = f"{one_line(reason.name)}  {next_attempt(reason, now)}: {one_line(reason.error)}"
        return Text(told, style=RETRYING.style)
    if reason is not None and view.status != Status.PAUSED:
        return Text(waiting(reason, now), style="yellow")
    if has_current(view) and (view.status != Status.PAUSED or view.owner):
        return Text.assemble(one_line(view.current_step_type), (f"  {clock(now - view.updated_at)}", "dim"))
    return Text("")


def status(view: WorkflowView) -> Text:
    return Text(one_line(view.status), style=status_sign(view.status).style)


def time(view: WorkflowView, now: int) -> str:
    """How long it took from its start to its end, or has taken until now."""
    if not view.started_at:
        return ""
    return compact(duration(view.finished_at - view.started_at) if view.finished_at else clock(now - view.started_at))
