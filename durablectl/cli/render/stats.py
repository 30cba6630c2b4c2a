"""Counts of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.signs import status_sign
from durablectl.cli.render.table import Column, plain, table
from durablectl.cli.render.wording import count, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from durablectl.query import StatsView

_BAR = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


def stats_table(stats: StatsView, width: int) -> Text:
    """For a terminal: statuses, handlers, each with its share as a bar, and the total."""
    if not stats.total:
        return Text("No workflows.\n").append(_set_aside(stats)) if stats.set_aside else Text("No workflows.")
    signs = [status_sign(status) for status in stats.by_status]
    statuses = table(
        [
            Column("", [Text(*sign) for sign in signs]),
            Column("STATUS", [Text(one_line(s), sign.style) for s, sign in zip(stats.by_status, signs, strict=True)]),
            *_counts(stats.by_status, stats.total),
        ],
        width,
    )
    handlers = table(
        [
            Column("", [Text(" ") for _ in stats.by_handler]),
            plain("HANDLER", [one_line(handler) for handler in stats.by_handler]),
            *_counts(stats.by_handler, stats.total),
        ],
        width,
    )
    parts = [statuses, handlers, Text(f"  {count(stats.total, 'workflow')}", style="bold")]
    if stats.set_aside:
        parts.append(_set_aside(stats))
    return Text("\n\n").join(parts)


def _set_aside(stats: StatsView) -> Text:
    return Text(f"  {count(stats.set_aside, 'command')} set aside, because unreadable: durablectl doctor", style="yellow")


def stats_lines(stats: StatsView) -> str:
    """For a pipe: what is counted, which, how many."""
    rows = [
        "BY\tNAME\tCOUNT",
        *(f"status\t{one_line(name)}\t{number}" for name, number in stats.by_status.items()),
        *(f"handler\t{one_line(name)}\t{number}" for name, number in stats.by_handler.items()),
        f"total\t\t{stats.total}",
        *([f"set-aside\t\t{stats.set_aside}"] if stats.set_aside else []),
    ]
    return "\n".join(rows)


def _counts(numbers: Mapping[str, int], total: int) -> list[Column]:
    return [
        plain("COUNT", [f"{number:,}" for number in numbers.values()], right=True),
        plain("SHARE", [_bar(number, total) for number in numbers.values()], "cyan", drop=1),
    ]


def _bar(number: int, total: int) -> str:
    """At least a sliver where there is one at all."""
    eighths = max(1, round(number * _BAR * 8 / total)) if number else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
