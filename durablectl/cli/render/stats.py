"""Counts of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import age, compact, count, one_line
from durablectl.cli.render.status_sentence import workflow_symbol
from durablectl.cli.render.symbols import status_symbol
from durablectl.cli.render.table import Column, fit, names, plain, table
from durablectl.cli.render.workflow_cells import detail, status_cell
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from durablectl.query import StatsView, WorkflowView

_BAR = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MANY = 10
"""From here on a rate needs no decimals."""


def stats_table(stats: StatsView, now: int, width: int) -> Text:
    """For a terminal: statuses and handlers with their shares, and what an operator looks at first."""
    if not stats.total:
        return Text("No workflows.\n").append(_set_aside(stats)) if stats.set_aside else Text("No workflows.")
    symbols = [status_symbol(each) for each in stats.by_status]
    statuses = table(
        [
            Column("", [Text(*symbol) for symbol in symbols]),
            Column(
                "STATUS",
                [Text(one_line(s), symbol.style) for s, symbol in zip(stats.by_status, symbols, strict=True)],
            ),
            _numbers("COUNT", stats.by_status.values()),
            _shares(stats.by_status, stats.total),
        ],
        width,
    )
    parts = [statuses, table(_handlers(stats, width), width), _facts(stats)]
    if stats.oldest_active is not None:
        parts.append(_oldest(stats.oldest_active, now, width))
    if stats.set_aside:
        parts.append(_set_aside(stats))
    return Text("\n\n").join(parts)


def _handlers(stats: StatsView, width: int) -> list[Column]:
    """With a column for each status, headed by its word, or where there is no room for that by its symbol."""
    columns = [
        Column("", [Text(" ") for _ in stats.by_handler]),
        names("HANDLER", [one_line(handler) for handler in stats.by_handler]),
        _numbers("COUNT", stats.by_handler.values()),
    ]
    shares = _shares(stats.by_handler, stats.total)
    if len(stats.by_status) > 1:
        words = _matrix(stats, [one_line(each) for each in stats.by_status])
        symbols = _matrix(stats, [status_symbol(each).glyph for each in stats.by_status])
        for more in ([*words, shares], words, [*symbols, shares], symbols):
            if len(fit([*columns, *more], width)) == len(columns) + len(more):
                return [*columns, *more]
    return [*columns, shares]


def _matrix(stats: StatsView, titles: Sequence[str]) -> list[Column]:
    rows = [stats.statuses_of.get(handler, {}) for handler in stats.by_handler]
    return [
        Column(title, [_cell(row.get(each, 0), status_symbol(each).style) for row in rows], right=True, drop=1)
        for each, title in zip(stats.by_status, titles, strict=True)
    ]


def _cell(number: int, style: str) -> Text:
    return Text(f"{number:,}", style=style) if number else Text("·", style="dim")


def _facts(stats: StatsView) -> Text:
    told = Text(f"  {count(stats.total, 'workflow')}", style="bold")
    if stats.by_status.get(Status.COMPLETED):
        recent, hour = _rate(stats.completed_per_minute), _rate(stats.completed_per_minute_last_hour)
        told.append(f", {recent} completed per minute ({hour} in the last hour)", style="not bold")
    return told


def _rate(per_minute: float) -> str:
    if not per_minute:
        return "none"
    if per_minute >= 1:
        return f"{per_minute:,.0f}" if per_minute >= _MANY else f"{per_minute:.1f}"
    return f"{per_minute:.2g}"


def _oldest(view: WorkflowView, now: int, width: int) -> Text:
    """The one that has been in its status for longest."""
    return table(
        [
            Column("", [Text(*workflow_symbol(view))]),
            plain("OLDEST ACTIVE", [one_line(view.invocation_id)]),
            names("HANDLER", [one_line(view.handler)], drop=1),
            Column("STATUS", [status_cell(view)], drop=3),
            plain("AGE", [compact(age(view.created_at, now))], drop=2, right=True),
            Column("DETAIL", [detail(view, now)], drop=4, least=24),
        ],
        width,
    )


def _set_aside(stats: StatsView) -> Text:
    return Text(
        f"  {count(stats.set_aside, 'command')} set aside, because unreadable: durablectl doctor", style="yellow"
    )


def stats_lines(stats: StatsView, now: int) -> str:
    """For a pipe: what is counted, which, how many; of the oldest active one its age in seconds."""
    pairs = [(handler, each, n) for handler, counts in stats.statuses_of.items() for each, n in counts.items()]
    rows: list[tuple[str, str, object]] = [
        *(("status", name, number) for name, number in stats.by_status.items()),
        *(("handler", name, number) for name, number in stats.by_handler.items()),
        ("total", "", stats.total),
        *(("handler/status", f"{handler}/{each}", number) for handler, each, number in pairs),
        ("completed-per-minute", "", round(stats.completed_per_minute, 2)),
        ("completed-per-minute/last-hour", "", round(stats.completed_per_minute_last_hour, 2)),
    ]
    if (oldest := stats.oldest_active) is not None:
        seconds = max(0, now - oldest.created_at) // MICROSECONDS if oldest.created_at else ""
        rows.append((f"oldest-active/{oldest.status}", oldest.invocation_id, seconds))
    if stats.set_aside:
        rows.append(("set-aside", "", stats.set_aside))
    return "\n".join(["BY\tNAME\tCOUNT", *(f"{by}\t{one_line(name)}\t{number}" for by, name, number in rows)])


def _numbers(title: str, numbers: Iterable[int]) -> Column:
    return plain(title, [f"{number:,}" for number in numbers], right=True)


def _shares(numbers: Mapping[str, int], total: int) -> Column:
    return plain("SHARE", [_bar(number, total) for number in numbers.values()], "cyan", drop=1)


def _bar(number: int, total: int) -> str:
    """At least a sliver where there is one at all."""
    eighths = max(1, round(number * _BAR * 8 / total)) if number else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
