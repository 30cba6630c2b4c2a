"""When each step ran: a bar each on a terminal, tab-separated or JSON elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from durablectl.cli.render.formatting import compact, count, duration, elapsed, iso, one_line
from durablectl.cli.render.journal import journal_part
from durablectl.cli.render.status_sentence import (
    has_current,
    is_open,
    is_orphaned,
    is_retrying,
    progress_sentence,
    status_sentence,
    workflow_symbol,
)
from durablectl.cli.render.symbols import DONE, FAILED, RETRYING, RUNNING, STATUS, Symbol
from durablectl.cli.render.table import Column, plain, separated, shortened, table
from durablectl.model.clock import MICROSECONDS, to_rfc3339
from durablectl.model.operation_kinds import DRAWN_AS_WAIT
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query import StepView, WorkflowView

_MILLISECOND, _MINUTE, _HOUR = 1000, 60 * MICROSECONDS, 3600 * MICROSECONDS
_DAY = 24 * _HOUR
_TICKS = (
    *(base * 10**power for power in range(7) for base in (1, 2, 5)),
    *(seconds * MICROSECONDS for seconds in (10, 20, 30)),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 12)),
    *(base * 10**power * _DAY for power in range(5) for base in (1, 2, 5)),
)
_LABEL = 9
_LEAST_BAR, _LEAST_NAME = 16, 14


class Phase(StrEnum):
    """RETRIED holds several attempts and the pauses between them, which the journal does not tell apart."""

    WORK = "work"
    RETRIED = "retried"
    BACKOFF = "backoff"
    WAIT = "wait"


_SHADES = {
    Phase.WORK: Symbol("█", "cyan"),
    Phase.RETRIED: Symbol("▓", "yellow"),
    Phase.BACKOFF: Symbol("▒", "yellow"),
    Phase.WAIT: Symbol("░", "magenta"),
}
_LEGEND = {
    Phase.WORK: "work",
    Phase.RETRIED: "several attempts",
    Phase.BACKOFF: "pause before the next",
    Phase.WAIT: "waiting",
}


class Span(NamedTuple):
    """In microseconds; of what is not over, ``end`` is now."""

    phase: Phase
    start: int
    end: int


@dataclass(frozen=True)
class TimelineRow:
    """A step; ``end`` is 0 while it runs. Without a time there are no ``spans``."""

    step_number: int
    step_type: str
    kind: str
    state: str
    start: int
    end: int
    attempts: int
    error: str
    spans: Sequence[Span]

    @property
    def lasted(self) -> int:
        """Microseconds, up to now."""
        return self.spans[-1].end - self.spans[0].start if self.spans else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "step_number": self.step_number,
            "step_type": self.step_type,
            "kind": self.kind or None,
            "state": self.state,
            "start": to_rfc3339(self.start),
            "end": to_rfc3339(self.end),
            "milliseconds": self.lasted / _MILLISECOND if self.spans else None,
            "attempts": self.attempts or None,
            "error": self.error or None,
            "phases": [
                {"phase": span.phase, "start": to_rfc3339(span.start), "end": to_rfc3339(span.end)}
                for span in self.spans
            ],
        }


def rows(view: WorkflowView, now: int) -> list[TimelineRow]:
    """The journaled steps, and the one under way. When that was retried, it began after the one before it."""
    found = [_row(view, step, now) for step in view.journal or ()]
    reaches_end = view.journal_start + len(found) >= view.journal_length
    known = any(row.step_number == view.current_step for row in found)
    if not is_terminal(view.status) and view.current_step >= 0 and not known and reaches_end:
        found.append(_current(view, found, now))
    return sorted(found, key=lambda row: row.step_number)


def _row(view: WorkflowView, step: StepView, now: int) -> TimelineRow:
    end = step.finished_at or (0 if is_open(step) and not is_terminal(view.status) else view.finished_at)
    spans = []
    if step.started_at and (step.finished_at or is_open(step)):
        phase = Phase.WAIT if step.kind in DRAWN_AS_WAIT else Phase.WORK
        phase = Phase.RETRIED if phase is Phase.WORK and step.attempts > 1 else phase
        spans = [Span(phase, step.started_at, max(step.started_at, end or now))]
    state = "failed" if step.error else "done"
    if is_open(step):
        state = "abandoned" if is_terminal(view.status) else "waiting"
    named = (step.step_number, step.step_type, step.kind)
    return TimelineRow(*named, state, step.started_at, step.finished_at, step.attempts, step.error, spans)


def _current(view: WorkflowView, before: Sequence[TimelineRow], now: int) -> TimelineRow:
    since = min(view.updated_at, now) or now
    spans, attempts, error, state = [Span(Phase.WORK, since, now)], 0, "", "running"
    if is_orphaned(view):
        spans, state = [Span(Phase.WAIT, since, now)], "waiting"
    elif is_retrying(view) and view.waiting_for is not None:
        ends = [row.end for row in before if 0 < row.end <= since]
        start = min(since, max(ends, default=view.started_at) or since)
        spans = [Span(Phase.RETRIED, start, since), Span(Phase.BACKOFF, since, now)]
        attempts, error, state = view.waiting_for.attempt, view.waiting_for.error, "retrying"
    elif view.status != Status.RUNNING and not view.owner:
        state = "waiting"
        spans = [Span(Phase.WAIT, since, now)]
    return TimelineRow(view.current_step, view.current_step_type, "", state, spans[0].start, 0, attempts, error, spans)


def timeline_json(view: WorkflowView, now: int) -> dict[str, Any]:
    return {
        "invocation_id": view.invocation_id,
        "handler": view.handler,
        "status": view.status,
        "created_at": to_rfc3339(view.created_at),
        "started_at": to_rfc3339(view.started_at),
        "finished_at": to_rfc3339(view.finished_at),
        "rows": [row.to_json() for row in rows(view, now)],
        "journal_start": view.journal_start,
        "journal_length": view.journal_length,
    }


def timeline_lines(view: WorkflowView, now: int) -> str:
    """For a pipe. What is not over has no finish, and milliseconds up to now."""
    found = rows(view, now)
    return separated(
        [
            ("STEP", [str(row.step_number) for row in found]),
            ("STEP_TYPE", [one_line(row.step_type) for row in found]),
            ("KIND", [one_line(row.kind) for row in found]),
            ("STARTED", [iso(row.start) for row in found]),
            ("FINISHED", [iso(row.end) for row in found]),
            ("MILLISECONDS", [f"{row.lasted / _MILLISECOND:.3f}" if row.spans else "" for row in found]),
        ]
    )


def timeline_page(view: WorkflowView, now: int, width: int) -> Text:
    """For a terminal."""
    found = rows(view, now)
    title = Text.assemble((one_line(view.handler), "bold"), "  ", (one_line(view.invocation_id), "dim"))
    lines = [title]
    if part := journal_part(view):
        lines.append(Text(f"  steps {part}, see --steps", style="dim"))
    if found:
        lines += _chart(view, found, now, width)
    told = Text.assemble(
        workflow_symbol(view),
        " ",
        shortened(status_sentence(view, now) if is_retrying(view) else progress_sentence(view, now), width - 2),
    )
    told.stylize(workflow_symbol(view).style)
    return Text("\n").join([*lines, told])


def _chart(view: WorkflowView, found: Sequence[TimelineRow], now: int, width: int) -> list[Text]:
    names = [shortened(one_line(row.step_type), max(_LEAST_NAME, width // 3)) for row in found]
    columns = [
        Column("", [Text(*_mark(row)) for row in found]),
        plain("#", [str(row.step_number) for row in found], right=True),
        plain("STEP", names),
    ]
    after = [plain("TIME", [_time(row) for row in found], "dim", right=True)]
    if any(row.attempts > 1 for row in found):
        after.append(plain("TRIES", [str(row.attempts) if row.attempts > 1 else "" for row in found], right=True))
    fixed = sum(column.width + (2 if column.title else 1) for column in (*columns, *after))
    room = max(_LEAST_BAR, width - fixed)
    scale = _scale(view, found, now, room)
    if scale is None:
        return [table([*columns, *after], width), Text("  no times are recorded", style="dim")]
    bars = Column(_axis(scale), [_bar(row, scale) for row in found])
    lines = [table([*columns, bars, *after], max(width, fixed + room))]
    return [*lines, *_notes(view, found, scale)]


class _Scale(NamedTuple):
    """``room`` columns from ``low`` to ``high``; labels count from ``zero``. All in microseconds."""

    zero: int
    low: int
    high: int
    room: int

    def column(self, moment: int) -> float:
        return (moment - self.low) * self.room / (self.high - self.low)


def _scale(view: WorkflowView, found: Sequence[TimelineRow], now: int, room: int) -> _Scale | None:
    """From the start to the end where the whole journal is shown, else what the shown steps cover."""
    spans = [span for row in found for span in row.spans]
    if not spans:
        return None
    low, high = min(span.start for span in spans), max(span.end for span in spans)
    zero = view.started_at or low
    if len(view.journal or ()) >= view.journal_length:
        low = min(low, zero)
        high = max(high, view.finished_at if is_terminal(view.status) else now)
    return _Scale(zero, low, max(high, low + 1), room)


def _axis(scale: _Scale) -> str:
    """Times from the start, each beginning at its place."""
    span = scale.high - scale.low
    step = next((tick for tick in _TICKS if tick * scale.room / span >= _LABEL), _TICKS[-1])
    line = ""
    moment = -(-(scale.low - scale.zero) // step) * step
    while scale.zero + moment <= scale.high:
        label = compact(duration(moment)) if moment else "0"
        label = label.replace(".0", "").replace("h00m", "h").replace("d0h", "d").replace("m00s", "m")
        column = int(scale.column(scale.zero + moment))
        if column + len(label) > scale.room:
            break
        line = f"{line:<{column}}{label}"
        moment += step
    return f"{line:<{scale.room}}"


def _bar(row: TimelineRow, scale: _Scale) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * scale.room
    for span in row.spans:
        first = min(scale.room - 1, max(0, int(scale.column(span.start))))
        last = min(scale.room, max(first + 1, round(scale.column(span.end))))
        glyph, style = _SHADES[span.phase]
        failed = row.state == "failed"
        cells[first:last] = [(glyph, FAILED.style if failed else style)] * (last - first)
    return Text.assemble(*cells)


def _notes(view: WorkflowView, found: Sequence[TimelineRow], scale: _Scale) -> list[Text]:
    phases = [phase for phase in Phase if any(span.phase is phase for row in found for span in row.spans)]
    lines = []
    beside = view.total_steps - max(len(view.journal or ()), view.journal_length) - 1
    if has_current(view) and not is_terminal(view.status) and beside > 0:
        lines.append(Text(f"     and {count(beside, 'more step')} beside it", style="dim"))
    if phases != [Phase.WORK]:
        legend = [Text.assemble(_SHADES[phase], (f" {_LEGEND[phase]}", "dim")) for phase in phases]
        lines.append(Text("  ").append_text(Text("  ").join(legend)))
    queued = view.started_at - view.created_at if view.created_at else 0
    before = f", {duration(queued)} after it was created" if queued > 0 else ""
    lines.append(Text(f"  0 is {iso(scale.zero)}{before}", style="dim"))
    return lines


def _mark(row: TimelineRow) -> Symbol:
    match row.state:
        case "failed":
            return FAILED
        case "done":
            return DONE
        case "retrying":
            return RETRYING
        case "running":
            return RUNNING
        case "abandoned":
            return STATUS[Status.CANCELLED]
        case _:
            return STATUS[Status.SUSPENDED]


def _time(row: TimelineRow) -> str:
    if not row.spans:
        return ""
    return compact(duration(row.lasted) if row.end else elapsed(row.lasted))
