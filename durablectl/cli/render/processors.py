"""The processors: those that live, and those lost in the last hour."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import (
    ISO,
    RELATIVE,
    TimeFormat,
    TimeStyle,
    age,
    compact,
    count,
    duration,
    elapsed,
    format_time,
    one_line,
)
from durablectl.cli.render.symbols import DONE, FAILED
from durablectl.cli.render.table import Column, plain, separated, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query import LostProcessorView, ProcessorView

_SHOWN = 3


def processor_table(views: Sequence[ProcessorView], now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal."""
    started = plain("STARTED", [format_time(times, view.started_at, now) for view in views], drop=2)
    if times.style is TimeStyle.RELATIVE:
        started = plain("AGE", [compact(age(view.started_at, now)) for view in views], drop=2, right=True)
    blocked = [compact(age(view.blocked_since, now)) if view.blocked_since else "" for view in views]
    has_apps = any(view.app_version for view in views)
    full = [Text("full" if view.is_full else "", style="yellow") for view in views]
    rows = table(
        [
            plain("PROCESSOR", [one_line(view.processor_id) for view in views]),
            plain("BUSY", [f"{view.busy}/{view.slots}" for view in views], right=True),
            *([Column("", full)] if any(view.is_full for view in views) else []),
            *([plain("BLOCKED", blocked, "red", right=True)] if any(blocked) else []),
            started,
            plain("VERSION", [one_line(view.version) for view in views], drop=3),
            *([plain("APP", [one_line(view.app_version) for view in views], drop=4)] if has_apps else []),
            plain("HANDLERS", [one_line(", ".join(view.handlers)) for view in views], drop=1, least=16),
        ],
        width,
    )
    return Text("\n").join([rows, *(line for view in views for line in _notes(view, width))])


def _notes(view: ProcessorView, width: int) -> list[Text]:
    name, told = one_line(view.processor_id), []
    if view.blocked_since:
        told.append(f"The event loop of {name} is blocked by {one_line(view.blocked_by)}.")
    if view.has_wrong_clock:
        error = clock_error(view.clock_error)
        told.append(f"The machine clock of {name} is {error} that of the NATS server, whose time counts.")
    return [Text(_wrapped(text, width)) for text in told]


def _wrapped(text: str, width: int, indent: str = "") -> str:
    lines = textwrap.wrap(text, max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    return f"\n{indent}".join(lines)


def clock_error(microseconds: int) -> str:
    """``10 min 00 s ahead of`` or ``behind``, of a clock compared with another."""
    return f"{duration(abs(microseconds))} {'ahead of' if microseconds > 0 else 'behind'}"


def processors_page(
    views: Sequence[ProcessorView], lost: Sequence[LostProcessorView], now: int, width: int, times: TimeFormat
) -> Text:
    """For a terminal."""
    parts = [processor_table(views, now, width, times)] if views else []
    parts += [lost_processor_page(lost, now, width)] if lost else []
    return Text("\n\n").join(parts)


def lost_processor_page(views: Sequence[LostProcessorView], now: int, width: int) -> Text:
    """For a terminal: a sentence for each."""
    lines = [Text("Lost in the last hour:", style="bold")]
    for view in views:
        symbol = DONE if view.returned_at else FAILED
        body = textwrap.wrap(
            lost_sentence(view, now), max(20, width - 2), break_long_words=False, break_on_hyphens=False
        )
        lines.append(Text.assemble(symbol, " ", "\n  ".join(body)))
    return Text("\n").join(lines)


def lost_sentence(view: LostProcessorView, now: int) -> str:
    """Since when it has not been heard of, and what it held then."""
    name = one_line(view.processor_id)
    if view.returned_at:
        lasted = elapsed(view.returned_at - view.lost_at)
        told = f"{name} was silent for {lasted}, {age(view.lost_at, now)} ago, and is back"
    else:
        told = f"{name} has been silent for {elapsed(now - view.lost_at)}, dead or cut off"
    if not view.held:
        return f"{told}; it held no workflow."
    more = view.held - min(len(view.held_ids), _SHOWN)
    names = [one_line(each) for each in view.held_ids[:_SHOWN]]
    which = f": {', '.join(names)}{f' and {more:,} more' if more else ''}" if names else ""
    return f"{told}; it held {count(view.held, 'workflow')}{which}."


def processor_lines(
    views: Sequence[ProcessorView],
    now: int = 0,
    times: TimeFormat = ISO,
    lost: Sequence[LostProcessorView] = (),
) -> str:
    """For a pipe; ``now`` is for relative times. Those that are lost come last, as their STATE says."""
    rows = [[one_line(str(cell)) for cell in _processor(view, now, times)] for view in views]
    rows += [[one_line(str(cell)) for cell in _lost(view, now, times)] for view in lost if not view.returned_at]
    titles = (
        "PROCESSOR",
        "HOST",
        "PID",
        "BUSY",
        "SLOTS",
        "STARTED",
        "VERSION",
        "HANDLERS",
        "BLOCKED SINCE",
        "BLOCKED BY",
        "STATE",
        "APP_VERSION",
    )
    return separated([(title, [row[index] for row in rows]) for index, title in enumerate(titles)])


def _processor(view: ProcessorView, now: int, times: TimeFormat) -> tuple[object, ...]:
    return (
        view.processor_id,
        view.host,
        view.process_id,
        view.busy,
        view.slots,
        format_time(times, view.started_at, now),
        view.version,
        ",".join(view.handlers),
        format_time(times, view.blocked_since, now) if view.blocked_since else "",
        view.blocked_by,
        _state(view),
        view.app_version,
    )


def _state(view: ProcessorView) -> str:
    told = ["full"] if view.is_full else []
    if view.blocked_since:
        told.append("blocked")
    if view.has_wrong_clock:
        told.append(f"clock {clock_error(view.clock_error)} the server's")
    return "; ".join(told) or "ok"


def _lost(view: LostProcessorView, now: int, times: TimeFormat) -> tuple[object, ...]:
    return (
        view.processor_id,
        view.host,
        view.process_id or "",
        view.held,
        "",
        format_time(times, view.started_at, now),
        view.version,
        ",".join(view.handlers),
        "",
        "",
        f"lost {format_time(times, view.lost_at, now)}",
        view.app_version,
    )
