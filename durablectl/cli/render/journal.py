"""The steps of a workflow, a line each, with the one under way at the end; also those that retries have dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from durablectl.cli.render.children import started_child
from durablectl.cli.render.formatting import (
    RELATIVE,
    TimeStyle,
    compact,
    count,
    countdown,
    duration,
    elapsed,
    format_time,
    format_time_long,
    iso,
    one_line,
    value,
)
from durablectl.cli.render.status_sentence import (
    error_text,
    is_open,
    is_orphaned,
    next_attempt,
    wait_sentence,
    workflow_symbol,
)
from durablectl.cli.render.symbols import DONE, FAILED, RETRYING, STATUS, spinner
from durablectl.cli.render.table import UNLIMITED, Column, plain, separated, shortened, table
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from durablectl.cli.render.formatting import TimeFormat
    from durablectl.cli.render.symbols import Symbol
    from durablectl.query import DroppedView, StepView, WaitingView, WorkflowView

_ARROW = " → "


class _Row(NamedTuple):
    symbol: Symbol
    number: str
    name: str
    time: str
    tries: str
    result: StepView | Text
    started_at: int


def journal_table(
    view: WorkflowView,
    now: int,
    width: int | None,
    *,
    newest: int | None = None,
    live: bool = False,
    explain: bool = False,
    failed_before: WaitingView | None = None,
    below: Mapping[int, Text] | None = None,
    times: TimeFormat = RELATIVE,
) -> Text:
    """For a terminal; ``width`` None shortens nothing.

    ``below`` holds what stands under a step, by its number; ``times`` other than relative ones stand beside the steps.
    ``newest`` shows that many steps only. ``live`` turns the symbol of the running one, ``explain`` tells below it why
    its last attempt failed: ``failed_before``, when another one is under way.
    """
    steps = view.journal or ()
    hidden = max(0, len(steps) - newest) if newest is not None else 0
    rows = [_step_row(view, step, now) for step in steps[hidden:]]
    lines = [Text(f"  {count(hidden, 'earlier step')} not shown", style="dim")] if hidden else []
    if part := journal_part(view):
        lines.append(Text(f"  steps {part}, see --steps", style="dim"))
    journaled = {step.step_number for step in steps}
    current = not is_terminal(view.status) and view.current_step >= 0 and view.current_step not in journaled
    current = current and view.journal_start + len(steps) >= view.journal_length  # the part reaches to the end
    if current:
        rows.append(_current_row(view, now, failed_before, live=live))
        rows.sort(key=lambda row: int(row.number))
    if rows:
        header, *shown = _table(rows, width, now, times).split("\n")
        lines.append(header)
        for row, line in zip(rows, shown, strict=True):
            lines.append(line)
            if below and int(row.number) in below:
                lines.append(below[int(row.number)])
    if current:
        retry = _retry(view) or failed_before
        if explain and retry is not None:
            lines.append(Text(shortened(f"     {one_line(retry.error)}", width or UNLIMITED), RETRYING.style))
        beside = view.total_steps - max(len(steps), view.journal_length) - 1
        if beside > 0:
            lines.append(Text(f"     and {count(beside, 'more step')} beside it", style="dim"))
    return Text("\n").join(lines)


def journal_part(view: WorkflowView) -> str:
    """``9,950 to 9,999 of 10,000``; empty where the whole journal is there."""
    steps = view.journal or ()
    if len(steps) >= view.journal_length:
        return ""
    if not steps:
        return f"none of {view.journal_length:,}"
    first, last = steps[0].step_number, steps[-1].step_number
    return f"{first:,}{f' to {last:,}' if last != first else ''} of {view.journal_length:,}"


def journal_lines(view: WorkflowView, tell: Callable[[int], str] = iso) -> str:
    """For a pipe: tab-separated, whole values; ``tell`` writes a moment."""
    steps = view.journal or ()
    return separated(
        [
            ("STEP", [str(step.step_number) for step in steps]),
            ("STEP_TYPE", [one_line(step.step_type) for step in steps]),
            ("STATE", [_state(step) for step in steps]),
            ("STARTED", [tell(step.started_at) for step in steps]),
            ("FINISHED", [tell(step.finished_at) for step in steps]),
            ("ATTEMPTS", [str(step.attempts or "") for step in steps]),
            ("REQUEST", [value(step.request) for step in steps]),
            ("RESPONSE", ["" if step.error else value(step.response) for step in steps]),
            ("ERROR", [error_text(step) for step in steps]),
            ("CHILD", [one_line(started_child(step)) for step in steps]),
        ]
    )


def _state(step: StepView) -> str:
    if step.error:
        return "failed"
    return "waiting" if is_open(step) else "done"


def exchange(step: StepView, room: int) -> Text:
    """Request and result or error, in ``room`` columns: half for each, and to one what the other leaves."""
    request = "" if step.request is None else value(step.request)
    result = error_text(step) if step.error else value(step.response)
    arrow = _ARROW if request else _ARROW.lstrip()
    room -= len(arrow)
    request = shortened(request, max(room // 2, room - cell_len(result)))
    result = shortened(result, room - cell_len(request))
    return Text.assemble((request, "dim"), (arrow, "dim"), (result, FAILED.style if step.error else ""))


def _step_row(view: WorkflowView, step: StepView, now: int) -> _Row:
    if is_open(step):
        return _waiting_row(view, step, now)
    known = step.started_at and step.finished_at
    return _Row(
        symbol=FAILED if step.error else DONE,
        number=str(step.step_number),
        name=one_line(step.step_type),
        time=compact(duration(step.finished_at - step.started_at)) if known else "",
        tries=str(step.attempts) if step.attempts > 1 else "",
        result=step,
        started_at=step.started_at,
    )


def _waiting_row(view: WorkflowView, step: StepView, now: int) -> _Row:
    reason = view.waiting_for
    if reason is not None and reason.step_number != step.step_number:
        # The record names the first of several waits; each of them is in the journal.
        reason = replace(
            reason,
            kind=step.kind,
            name=step.step_type,
            until=step.until,
            awaited_id=step.awaited_id,
            attempt=0,
            error="",
        )
    return _Row(
        symbol=STATUS[Status.CANCELLED if is_terminal(view.status) else Status.SUSPENDED],
        number=str(step.step_number),
        name=one_line(step.step_type),
        time=compact(duration((view.finished_at or now) - step.started_at)),
        tries="",
        result=Text(_awaited(reason, now) if reason is not None else "", STATUS[Status.SUSPENDED].style),
        started_at=step.started_at,
    )


def _awaited(reason: WaitingView, now: int) -> str:
    """The step's name says the rest."""
    if not reason.awaited_id:
        return wait_sentence(reason, now)
    most = f", at most another {countdown(reason.until - now)}" if reason.until else ""
    return f"waiting for {one_line(reason.awaited_id)}{most}"


def _current_row(view: WorkflowView, now: int, failed_before: WaitingView | None, *, live: bool) -> _Row:
    retry = _retry(view)
    running = view.status == Status.RUNNING and not is_orphaned(view)
    told = Text("")
    if retry is not None:
        told = Text(next_attempt(retry, now), style=RETRYING.style)
    elif failed_before is not None:
        told = Text(f"attempt {failed_before.attempt + 1}", style=RETRYING.style)
    elif view.status == Status.PAUSED and view.owner:
        told = Text("in flight, ends first", style=STATUS[Status.PAUSED].style)
    moving = spinner(now) if live and running else workflow_symbol(view)
    return _Row(
        symbol=RETRYING if retry else moving,
        number=str(view.current_step),
        name=one_line(view.current_step_type),
        time=compact(elapsed(now - view.updated_at)) if running and not retry else "",
        tries="",
        result=told,
        started_at=view.updated_at if running else 0,
    )


def _retry(view: WorkflowView) -> WaitingView | None:
    return view.waiting_for if view.waiting_for is not None and view.waiting_for.kind == WaitKind.RETRY else None


def _table(rows: list[_Row], width: int | None, now: int, times: TimeFormat) -> Text:
    columns = [
        Column("", [Text(*row.symbol) for row in rows]),
        plain("#", [row.number for row in rows], right=True),
        plain("STEP", [row.name for row in rows], least=20),
        plain("TIME", [row.time for row in rows], "dim", right=True),
    ]
    if times.style is not TimeStyle.RELATIVE:
        columns.insert(-1, plain("STARTED", [format_time(times, row.started_at, now) for row in rows], drop=2))
    if any(row.tries for row in rows):
        columns.append(plain("TRIES", [row.tries for row in rows], right=True, drop=1))
    room = UNLIMITED if width is None else max(24, width - sum(column.width + 2 for column in columns) + 1)
    results = [row.result if isinstance(row.result, Text) else exchange(row.result, room) for row in rows]
    return table([*columns, Column("REQUEST → RESULT", results, least=16)], width or UNLIMITED)


def dropped_tables(view: WorkflowView, now: int, width: int | None, times: TimeFormat = RELATIVE) -> list[Text]:
    """For a terminal: a part for each retry, the first one first."""
    return [
        Text.assemble(
            (f"Dropped {format_time_long(times, dropped.dropped_at, now)}\n", "bold"),
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
