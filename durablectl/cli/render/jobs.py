"""Bulk jobs: how far each is, and what it could not change."""

from __future__ import annotations

import functools
import shlex
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import (
    RELATIVE,
    TimeFormat,
    compact,
    count,
    countdown,
    duration,
    format_time,
    format_time_long,
    iso,
    one_line,
)
from durablectl.cli.render.symbols import DONE, FAILED, STATUS, status_symbol
from durablectl.cli.render.table import Column, plain, separated, table
from durablectl.model.clock import MICROSECONDS
from durablectl.model.jobs import ItemOutcome
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.model.jobs import ItemReport
    from durablectl.query import JobView

_LABEL = 11
_WIDEST_BAR = 40
_NARROWEST_BAR = 10


def job_table(views: Sequence[JobView], now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal; ``now`` in microseconds."""
    symbols = [status_symbol(view.status) for view in views]
    return table(
        [
            Column("", [Text(*symbol) for symbol in symbols]),
            plain("ID", [one_line(view.job_id) for view in views]),
            plain("OPERATION", [_operation(view) for view in views], drop=2),
            Column("STATUS", [Text(one_line(v.status), s.style) for v, s in zip(views, symbols, strict=True)], drop=3),
            plain("DONE", [_done(view) for view in views], right=True),
            Column("FAILED", [_failed(view) for view in views], drop=1, right=True),
            plain("RATE", [_rate(view) for view in views], drop=5, right=True),
            plain("ETA", [compact(_eta(view)) for view in views], drop=4, right=True),
            plain("CREATED", [format_time(times, view.workflow.created_at, now) for view in views], drop=6),
            plain("BY", [_actor(view) for view in views], drop=7, least=8),
            plain("FILTERS", [_filters(view) for view in views], drop=8, least=12),
        ],
        width,
    )


def job_lines(views: Sequence[JobView], now: int, times: TimeFormat) -> str:
    """For a pipe: tab-separated, nothing shortened."""
    columns = [(title, [one_line(str(cell(view))) for view in views]) for title, cell in _PLAIN]
    return separated([*columns, ("CREATED", [format_time(times, view.workflow.created_at, now) for view in views])])


def job_page(view: JobView, now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal: the facts, a bar, and how it stands."""
    tell = functools.partial(format_time_long, times, now=now)
    lines = [Text.assemble((f"{label:<{_LABEL}}", "dim"), text) for label, text in _facts(view, now, tell)]
    return Text.assemble(Text("\n").join(lines), "\n\n", _progress(view, now, width))


def job_text(view: JobView, now: int, times: TimeFormat) -> str:
    """For a pipe: a label and a text on each line."""
    tell = functools.partial(format_time, times, now=now)
    return "\n".join(
        f"{label}\t{text}" for label, text in [*_facts(view, now, tell), ("Progress", sentence(view, now))]
    )


def job_frame(view: JobView, now: int, width: int) -> Text:
    """The live view: the operation, a bar, the counts."""
    title = Text.assemble((one_line(view.job_id), "bold"), f"  {_what(view)}")
    title.truncate(width, overflow="ellipsis")
    return Text.assemble(title, "\n\n", _progress(view, now, width))


def sentence(view: JobView, now: int) -> str:
    """``running: 1,204 of 20,000 done (3 failed), 310/s, 1 min 01 s left``."""
    progress = view.progress
    done = f"{view.status}: {progress.position:,} of {view.total:,} done"
    if view.is_selecting:
        done = f"{view.status}: {progress.selected:,} selected so far"
    if view.is_unserved:
        return f"{done}; it waits for a processor: start one (durablectl run processor)"
    parts = [f"{done}{_counts_in_brackets(view)}"]
    if view.status == Status.RUNNING and progress.recent_rate:
        parts.append(_rate(view))
    if view.eta_seconds is not None:
        parts.append(f"{countdown(int(view.eta_seconds * MICROSECONDS))} left")
    if view.has_ended and view.progress.started_at:
        parts.append(f"in {duration(view.duration_us(now))}")
    text = ", ".join(parts)
    why = view.workflow.error or view.workflow.reason
    return f"{text}: {one_line(why)}" if why else text


def report_lines(reports: Sequence[ItemReport]) -> str:
    """For a pipe: id, outcome, code, message; without a header, as they may come in parts."""
    return "\n".join("\t".join((r.invocation_id, str(r.outcome), r.code, one_line(r.message))) for r in reports)


def report_table(reports: Sequence[ItemReport], width: int) -> Text:
    """For a terminal."""
    symbols = [FAILED if each.outcome is ItemOutcome.FAILED else STATUS[Status.CANCELLED] for each in reports]
    return table(
        [
            Column("", [Text(*symbol) for symbol in symbols]),
            plain("ID", [one_line(each.invocation_id) for each in reports]),
            plain("CODE", [one_line(each.code) for each in reports], drop=1),
            plain("REASON", [one_line(each.message) for each in reports], least=25),
        ],
        width,
    )


def _progress(view: JobView, now: int, width: int) -> Text:
    told = sentence(view, now)
    symbol = status_symbol(view.status)
    if not view.total or view.is_selecting:
        return Text.assemble(symbol, " ", (told, "bold"))
    bar = max(_NARROWEST_BAR, min(_WIDEST_BAR, width - 8))
    share = view.progress.position / view.total
    filled = int(bar * share)
    drawn = Text.assemble(("█" * filled, symbol.style), ("░" * (bar - filled), "dim"), f" {int(100 * share):3d} %")
    return Text.assemble(drawn, "\n", symbol, " ", (told, "bold"))


def _facts(view: JobView, now: int, tell: Callable[[int], str]) -> Sequence[tuple[str, str]]:
    """``tell`` writes a moment."""
    progress, spec = view.progress, view.spec
    finishes = view.finishes_at(now)
    facts = (
        ("Job", one_line(view.job_id)),
        ("Operation", _what(view)),
        ("Filters", _filters(view)),
        ("Reason", "" if spec is None else one_line(spec.reason)),
        ("Started by", _actor(view)),
        ("Status", one_line(view.status)),
        ("Changed", f"{progress.changed:,}"),
        ("As it was", f"{progress.unchanged:,}" if progress.unchanged else ""),
        ("Skipped", f"{progress.skipped:,}, they no longer matched" if progress.skipped else ""),
        ("Failed", _failures(view)),
        ("Rate limit", f"{spec.rate:g}/s" if spec is not None and spec.rate else ""),
        ("Created", tell(view.workflow.created_at)),
        ("Begun", tell(progress.started_at)),
        ("Ended", tell(view.workflow.finished_at)),
        ("Ends about", iso(finishes) if finishes else ""),
    )
    return [(label, text) for label, text in facts if text]


def _what(view: JobView) -> str:
    """``cancel --now 1,204 workflows``."""
    spec = view.spec
    if spec is None:
        return "of a version that this one cannot read"
    options = " --now" if spec.now else ""
    options += f" --from-step {spec.from_step}" if spec.from_step is not None else ""
    return f"{spec.operation}{options} {'what matches' if view.is_selecting else count(view.total, 'workflow')}"


def _done(view: JobView) -> str:
    return "selecting" if view.is_selecting and not view.has_ended else f"{view.progress.position:,}/{view.total:,}"


def _failures(view: JobView) -> str:
    failed = view.progress.failed
    if not failed:
        return ""
    return f"{failed:,}; `durablectl jobs get {one_line(view.job_id)} --failures` tells why"


def _counts_in_brackets(view: JobView) -> str:
    progress = view.progress
    counts = [
        f"{progress.unchanged:,} as they were" if progress.unchanged else "",
        f"{progress.skipped:,} skipped" if progress.skipped else "",
        f"{progress.failed:,} failed" if progress.failed else "",
    ]
    told = ", ".join(each for each in counts if each)
    return f" ({told})" if told else ""


def _operation(view: JobView) -> str:
    return "" if view.spec is None else str(view.spec.operation)


def _failed(view: JobView) -> Text:
    failed = view.progress.failed
    return Text(f"{failed:,}", FAILED.style if failed else DONE.style if view.status == Status.COMPLETED else "dim")


def _rate(view: JobView) -> str:
    rate = view.progress.recent_rate
    if view.status != Status.RUNNING or not rate:
        return ""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"  # noqa: PLR2004  # two digits either way


def _eta(view: JobView) -> str:
    return "" if view.eta_seconds is None else countdown(int(view.eta_seconds * MICROSECONDS))


def _actor(view: JobView) -> str:
    return "" if view.spec is None else one_line(view.spec.actor)


def _filters(view: JobView) -> str:
    return "" if view.spec is None else one_line(shlex.join(view.spec.flags))


_PLAIN: Sequence[tuple[str, Callable[[JobView], object]]] = (
    ("ID", lambda view: view.job_id),
    ("OPERATION", _operation),
    ("STATUS", lambda view: view.status),
    ("TOTAL", lambda view: view.total),
    ("DONE", lambda view: view.progress.position),
    ("CHANGED", lambda view: view.progress.changed),
    ("UNCHANGED", lambda view: view.progress.unchanged),
    ("SKIPPED", lambda view: view.progress.skipped),
    ("FAILED", lambda view: view.progress.failed),
    ("RATE", lambda view: f"{view.progress.recent_rate:.1f}" if view.progress.recent_rate else ""),
    ("ETA_SECONDS", lambda view: "" if view.eta_seconds is None else f"{view.eta_seconds:.0f}"),
    ("BY", _actor),
    ("FILTERS", _filters),
)
