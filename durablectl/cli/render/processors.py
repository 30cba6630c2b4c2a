"""The live processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.cli.render.formatting import ISO, RELATIVE, TimeFormat, TimeStyle, age, compact, format_time, one_line
from durablectl.cli.render.table import plain, separated, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from durablectl.query import ProcessorView


def processor_table(views: Sequence[ProcessorView], now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal."""
    started = plain("STARTED", [format_time(times, view.started_at, now) for view in views], drop=2)
    if times.style is TimeStyle.RELATIVE:
        started = plain("AGE", [compact(age(view.started_at, now)) for view in views], drop=2, right=True)
    blocked = [compact(age(view.blocked_since, now)) if view.blocked_since else "" for view in views]
    rows = table(
        [
            plain("PROCESSOR", [one_line(view.processor_id) for view in views]),
            plain("BUSY", [f"{view.busy}/{view.slots}" for view in views], right=True),
            *([plain("BLOCKED", blocked, "red", right=True)] if any(blocked) else []),
            started,
            plain("VERSION", [one_line(view.version) for view in views], drop=3),
            plain("HANDLERS", [one_line(", ".join(view.handlers)) for view in views], drop=1, least=16),
        ],
        width,
    )
    for view in views:
        if view.blocked_since:
            rows.append(f"\nThe event loop of {one_line(view.processor_id)} is blocked by {one_line(view.blocked_by)}.")
    return rows


def processor_lines(views: Sequence[ProcessorView], now: int = 0, times: TimeFormat = ISO) -> str:
    """For a pipe; ``now`` is for relative times."""
    rows = [[one_line(str(cell)) for cell in _processor(view, now, times)] for view in views]
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
    )
