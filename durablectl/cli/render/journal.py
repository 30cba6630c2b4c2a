"""The steps of a workflow, a line each, with the one under way and its retries at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from durablectl.cli.render.signs import DONE, FAILED, RETRYING, spinner, status_sign
from durablectl.cli.render.situation import failure, has_current, next_attempt
from durablectl.cli.render.table import Column, plain, separated, table
from durablectl.cli.render.wording import count, duration, iso, one_line, shortened, value
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from durablectl.cli.render.signs import Sign
    from durablectl.query import StepView, WaitingView, WorkflowView

_ARROW = " → "
_UNLIMITED = 1_000_000


class _Row(NamedTuple):
    sign: Sign
    number: str
    name: str
    time: str
    tries: str
    result: StepView | Text


def journal_table(
    view: WorkflowView,
    now: int,
    width: int | None,
    *,
    newest: int | None = None,
    moving: bool = False,
    failed_before: WaitingView | None = None,
) -> Text:
    """For a terminal; ``width`` None shortens nothing.

    ``newest`` shows that many steps only, ``moving`` turns the sign of the running one, and ``failed_before`` is why
    the attempt before that one failed.
    """
    steps = view.journal or ()
    hidden = max(0, len(steps) - newest) if newest is not None else 0
    rows = [_step_row(step) for step in steps[hidden:]]
    beside = 0
    if not is_terminal(view.status) and has_current(view):
        rows.append(_current_row(view, now, failed_before, moving=moving))
        beside = view.total_steps - len(steps) - 1
    lines = [Text(f"  {count(hidden, 'earlier step')} not shown", style="dim")] if hidden else []
    if rows:
        lines.append(_table(rows, width))
    if beside > 0:
        lines.append(Text(f"  {count(beside, 'more step')} under way beside it", style="dim"))
    return Text("\n").join(lines)


def journal_lines(view: WorkflowView) -> Text:
    """For a pipe: tab-separated, whole values."""
    steps = view.journal or ()
    columns: list[tuple[str, list[str]]] = [
        ("STEP", [str(step.step_number) for step in steps]),
        ("STEP_TYPE", [one_line(step.step_type) for step in steps]),
        ("STATE", ["failed" if step.error else "done" for step in steps]),
        ("STARTED", [iso(step.started_at) for step in steps]),
        ("FINISHED", [iso(step.finished_at) for step in steps]),
        ("ATTEMPTS", [str(step.attempts or "") for step in steps]),
        ("REQUEST", [value(step.request) for step in steps]),
        ("RESPONSE", ["" if step.error else value(step.response) for step in steps]),
        ("ERROR", [failure(step) for step in steps]),
    ]
    return separated([plain(title, cells) for title, cells in columns])


def exchange(step: StepView, room: int) -> Text:
    """Request and result or error, in ``room`` columns: half for each, and to one what the other leaves."""
    request = "" if step.request is None else value(step.request)
    result = failure(step) if step.error else value(step.response)
    arrow = _ARROW if request else _ARROW.lstrip()
    room -= len(arrow)
    request = shortened(request, max(room // 2, room - len(result)))
    result = shortened(result, room - len(request))
    return Text.assemble((request, "dim"), (arrow, "dim"), (result, FAILED.style if step.error else ""))


def _step_row(step: StepView) -> _Row:
    known = step.started_at and step.finished_at
    return _Row(
        sign=FAILED if step.error else DONE,
        number=str(step.step_number),
        name=one_line(step.step_type),
        time=duration(step.finished_at - step.started_at) if known else "",
        tries=str(step.attempts) if step.attempts > 1 else "",
        result=step,
    )


def _current_row(view: WorkflowView, now: int, failed_before: WaitingView | None, *, moving: bool) -> _Row:
    retry = view.waiting_for if view.waiting_for and view.waiting_for.kind == "retry" else None
    running = view.status == Status.RUNNING
    told = Text("")
    if retry is not None:
        told = Text(f"{next_attempt(retry, now)}: {one_line(retry.error)}", style=RETRYING.style)
    elif failed_before is not None:
        told = Text(
            f"attempt {failed_before.attempt + 1}, the last: {one_line(failed_before.error)}", style=RETRYING.style
        )
    sign = spinner(now) if moving and running else status_sign(view.status)
    return _Row(
        sign=RETRYING if retry and running else sign,
        number=str(view.current_step),
        name=one_line(view.current_step_type),
        time=duration(now - view.updated_at) if running and not retry else "",
        tries="",
        result=told,
    )


def _table(rows: list[_Row], width: int | None) -> Text:
    columns = [
        Column("", [Text(*row.sign) for row in rows]),
        plain("#", [row.number for row in rows], right=True),
        plain("STEP", [row.name for row in rows], least=20),
        plain("TIME", [row.time for row in rows], "dim", right=True),
    ]
    if any(row.tries for row in rows):
        columns.append(plain("TRIES", [row.tries for row in rows], right=True, drop=1))
    room = _UNLIMITED if width is None else max(24, width - sum(column.width + 2 for column in columns) + 1)
    results = [row.result if isinstance(row.result, Text) else exchange(row.result, room) for row in rows]
    return table([*columns, Column("REQUEST → RESULT", results, least=16)], width or _UNLIMITED)
