"""Schedules: when they fire, and what came of it."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import (
    ISO,
    RELATIVE,
    TimeFormat,
    TimeStyle,
    compact,
    count,
    countdown,
    duration,
    format_time,
    format_time_long,
    iso,
    one_line,
    value,
)
from durablectl.cli.render.symbols import FAILED, STATUS, Symbol
from durablectl.cli.render.table import Column, names, plain, separated, table
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.control import ScheduleView

_LABEL = 11
_ENDING_IN_NOTHING = re.compile(r"((?<=[a-z]) 0+ [a-z]+|\.0(?= ))")
NOT_ARMED = "it does not fire: the message that fires it is gone; `durablectl doctor --repair` arms it again"
_ARMED, _PAUSED = STATUS[Status.RUNNING], STATUS[Status.PAUSED]


class _Moment(int):
    """Microseconds since the epoch, among the cells that are shown as they are."""


def timing(view: ScheduleView) -> str:
    """``every 5 min``, or the cron expression with its time zone."""
    schedule = view.schedule
    if schedule.every:
        return f"every {_ENDING_IN_NOTHING.sub('', duration(schedule.every * MICROSECONDS))}"
    return one_line(f"{schedule.cron} {schedule.time_zone}")


def next_start(view: ScheduleView, now: int, *, relative: bool) -> str:
    """``; it starts async_workflow next at 2026-11-23T09:00:00.000Z, in 11 h 00 min``; empty while it is paused."""
    if not view.next_at:
        return ""
    told = f"; it starts {one_line(view.schedule.handler)} next at {iso(view.next_at)}"
    return f"{told}, in {countdown(view.next_at - now)}" if relative else told


def schedule_table(views: Sequence[ScheduleView], now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal; ``now`` in microseconds."""
    symbols = [_symbol(view) for view in views]
    return table(
        [
            Column("", [Text(*symbol) for symbol in symbols]),
            plain("NAME", [one_line(view.schedule.name) for view in views]),
            names("HANDLER", [one_line(view.schedule.handler) for view in views], drop=2),
            plain("WHEN", [timing(view) for view in views], drop=1),
            Column("NEXT", [_next(view, now, times) for view in views], drop=6),
            plain("LAST", [format_time(times, view.schedule.last_fired_at, now) for view in views], drop=5),
            plain("FIRED", [f"{view.schedule.fired:,}" for view in views], drop=4, right=True),
            plain("SKIPPED", [f"{view.schedule.skipped:,}" for view in views], drop=3, right=True),
        ],
        width,
    )


def _symbol(view: ScheduleView) -> Symbol:
    if view.schedule.paused:
        return _PAUSED
    return _ARMED if view.is_armed else FAILED


def _next(view: ScheduleView, now: int, times: TimeFormat) -> Text:
    if view.schedule.paused:
        return Text("paused", _PAUSED.style)
    if not view.is_armed:
        return Text("never: not armed", FAILED.style)
    if view.next_at and times.style is not TimeStyle.RELATIVE:
        return Text(format_time(times, view.next_at, now))
    return Text(f"in {compact(countdown(view.next_at - now))}" if view.next_at else "never")


_PLAIN: Sequence[tuple[str, Callable[[ScheduleView], object]]] = (
    ("NAME", lambda view: view.schedule.name),
    ("HANDLER", lambda view: view.schedule.handler),
    ("CRON", lambda view: view.schedule.cron),
    ("TIME_ZONE", lambda view: view.schedule.time_zone if view.schedule.cron else ""),
    ("EVERY_SECONDS", lambda view: view.schedule.every or ""),
    ("OVERLAP", lambda view: view.schedule.overlap),
    ("PAUSED", lambda view: "true" if view.schedule.paused else "false"),
    ("ARMED", lambda view: "true" if view.is_armed else "false"),
    ("NEXT", lambda view: _Moment(view.next_at)),
    ("LAST", lambda view: _Moment(view.schedule.last_fired_at)),
    ("LAST_ID", lambda view: view.schedule.last_invocation_id),
    ("FIRED", lambda view: view.schedule.fired),
    ("SKIPPED", lambda view: view.schedule.skipped),
    ("CAUGHT_UP", lambda view: view.schedule.caught_up),
)


def schedule_lines(views: Sequence[ScheduleView], now: int = 0, times: TimeFormat = ISO) -> str:
    """For a pipe: tab-separated, nothing shortened; ``now`` is for relative times."""

    def told(cell: object) -> str:
        return format_time(times, cell, now) if isinstance(cell, _Moment) else one_line(str(cell))

    return separated([(title, [told(cell(view)) for view in views]) for title, cell in _PLAIN])


def schedule_page(view: ScheduleView, now: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal."""
    tell = functools.partial(format_time_long, times, now=now)
    symbol = _symbol(view)
    lines = [Text.assemble((f"{label:<{_LABEL}}", "dim"), text) for label, text in _facts(view, tell)]
    return Text.assemble(Text("\n").join(lines), "\n\n", symbol, " ", (_sentence(view, now, times), "bold"))


def schedule_text(view: ScheduleView, now: int = 0, times: TimeFormat = ISO) -> str:
    """For a pipe: a label and a text on each line; ``now`` is for relative times."""
    tell = functools.partial(format_time, times, now=now)
    return "\n".join(f"{label}\t{text}" for label, text in [*_facts(view, tell), ("Next", tell(view.next_at))] if text)


def _sentence(view: ScheduleView, now: int, times: TimeFormat) -> str:
    if view.schedule.paused:
        return "paused: it starts nothing until it is resumed"
    if not view.next_at:
        return "it never fires again" if view.is_armed else NOT_ARMED
    at = iso(view.next_at, times.zone) if times.style is TimeStyle.RELATIVE else format_time(times, view.next_at, now)
    return f"next start in {countdown(view.next_at - now)}, at {at}"


def _facts(view: ScheduleView, tell: Callable[[int], str]) -> Sequence[tuple[str, str]]:
    """``tell`` writes a moment."""
    schedule = view.schedule
    facts = (
        ("Name", one_line(schedule.name)),
        ("Handler", one_line(schedule.handler)),
        ("When", timing(view)),
        ("Armed", "" if view.is_armed else f"no: {NOT_ARMED}"),
        ("Paused", "yes" if schedule.paused else ""),
        ("Input", "" if schedule.input is None else value(schedule.input)),
        ("Partition", one_line(schedule.partition_key)),
        ("Overlap", f"{schedule.overlap}: {_OVERLAP.get(schedule.overlap, '')}"),
        ("Created", tell(schedule.created_at)),
        ("Last fire", tell(schedule.last_fired_at)),
        ("Last start", one_line(schedule.last_invocation_id)),
        ("Fired", f"{count(schedule.fired, 'time')}{_caught_up(schedule.caught_up)}"),
        ("Skipped", count(schedule.skipped, "time") if schedule.skipped else ""),
    )
    return [(label, text) for label, text in facts if text]


_OVERLAP = {"skip": "no start while the last one still runs", "allow": "starts whatever still runs"}


def _caught_up(number: int) -> str:
    return f", {number:,} of them to catch up on what was missed while no processor was there" if number else ""
