"""What is in trouble, what moves, and what is fine."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import age, count, countdown, duration, iso, one_line
from durablectl.cli.render.symbols import DONE, FAILED, RUNNING, Symbol
from durablectl.cli.render.table import separated, shortened
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status
from durablectl.query import Urgency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.query import Group, Moving, StatusReport

_SYMBOLS = {
    Urgency.ERROR: FAILED,
    Urgency.WARNING: Symbol("!", "yellow"),
    Urgency.NOTICE: Symbol("·", "dim"),
}
_INDENT = "  "
_MOST_COMMANDS = 2
_LEAST = 40
_LONGEST_SUMMARY = 400
_MANY = 10


def status_page(report: StatusReport, width: int, connection: Sequence[str] = ()) -> Text:
    """For a terminal: a paragraph for each group, worst first, then what moves, then what is fine."""
    paragraphs = [_group(group, report.checked_at, width, connection) for group in report.groups]
    paragraphs += [_moving(report, width), _fine(report, width)]
    return Text("\n").join(line for paragraph in paragraphs for line in paragraph)


def status_lines(report: StatusReport, connection: Sequence[str] = ()) -> str:
    """For a pipe: a line for each group, and one for what moves."""
    rows = [
        (
            str(group.urgency),
            str(group.trouble),
            str(group.count),
            iso(group.since),
            str(group.recent),
            one_line(group.summary),
            ", ".join([*_facts(group, report.checked_at)]),
            one_line(group.examples[0]) if group.examples else "",
            one_line(group.remedies[0].command(connection)) if group.remedies else "",
        )
        for group in report.groups
    ]
    rows.append(("ok", "moving", str(report.moving.backlog), "", "", _moving_sentence(report.moving), "", "", ""))
    rows.append(("ok", "fine", "", "", "", _fine_sentence(report), "", "", ""))
    titles = ("SEVERITY", "CODE", "COUNT", "SINCE", "RECENT", "SUMMARY", "FACTS", "EXAMPLE", "COMMAND")
    return separated([(title, cells) for title, cells in zip(titles, zip(*rows, strict=True), strict=True)])


def _group(group: Group, now: int, width: int, connection: Sequence[str]) -> list[Text]:
    symbol = _SYMBOLS[group.urgency]
    style = "bold" if group.needs_person else ""
    told = _wrapped(shortened(one_line(group.summary), _LONGEST_SUMMARY), width)
    lines = [Text.assemble(symbol, " ", (told[0], style)), *(Text(_INDENT).append(line, style) for line in told[1:])]
    facts = [*_times(group, now), *_facts(group, now)]
    if group.examples and group.examples[0] not in group.summary:
        facts.append(f"e.g. {one_line(group.examples[0])}")
    if facts:
        lines += [Text(f"{_INDENT}{line}", "dim") for line in _wrapped(", ".join(facts), width)]
    return lines + _commands(group, width, connection)


def _commands(group: Group, width: int, connection: Sequence[str]) -> list[Text]:
    """Never cut; what each is for behind it where there is room."""
    shown = group.remedies[:_MOST_COMMANDS]
    commands = [one_line(remedy.command(connection)) for remedy in shown]
    most = max(map(len, commands), default=0)
    lines = []
    for command, remedy in zip(commands, shown, strict=True):
        line = Text(_INDENT).append(command, "cyan")
        if len(_INDENT) + most + len("  # ") + len(remedy.purpose) <= width:
            line.append(f"{' ' * (most - len(command))}  # {remedy.purpose}", "dim")
        lines.append(line)
    return lines


def _times(group: Group, now: int) -> Iterator[str]:
    if group.since:
        yield f"for {age(group.since, now)}"
    if group.recent and group.count > 1:
        yield "all in the last 5 min" if group.recent >= group.count else f"+{group.recent:,} in the last 5 min"
    if group.is_estimate:
        yield "the number is an estimate"


def _facts(group: Group, now: int) -> Iterator[str]:
    """What the details of a group say, in words."""
    details = group.details
    if details.get("attempts"):
        until = details.get("next_at", 0)
        after = f", next in {countdown(until - now)}" if until > now else ", next now"
        yield f"{count(details['attempts'], 'attempt')} so far{after}"
    if details.get("first_due_at"):
        yield f"the first due in {age(now, details['first_due_at'])}"
    if details.get("usual_seconds"):
        yield f"usually {duration(int(details['usual_seconds'] * MICROSECONDS))} at most"
    if "eta_seconds" in details:
        yield f"{_rate(details['completed_per_minute'])} per minute"
        yield _eta(details["eta_seconds"])
    if held := details.get("held_by"):
        yield "slots held by " + " and ".join(map(_holder, held[:_MOST_COMMANDS]))


def _holder(held: dict[str, object]) -> str:
    step = one_line(str(held["step"] or held["handler"]))
    retrying = ", retrying" if held["is_retrying"] else ""
    return f"{step} ({held['count']}{retrying}, up to {duration(int(str(held['longest_seconds'])) * MICROSECONDS)})"


def _eta(seconds: int | None) -> str:
    return "nothing ends" if seconds is None else f"done in {duration(seconds * MICROSECONDS)}"


def _rate(per_minute: float) -> str:
    if not per_minute:
        return "none"
    return f"{per_minute:,.0f}" if per_minute >= _MANY else f"{per_minute:.2g}"


def _moving(report: StatusReport, width: int) -> list[Text]:
    told = _wrapped(_moving_sentence(report.moving), width)
    lines = [Text.assemble(RUNNING, " ", told[0]), *(Text(f"{_INDENT}{line}") for line in told[1:])]
    oldest = report.moving.oldest
    if oldest is not None:
        since = f" for {age(oldest.created_at, report.checked_at)}" if oldest.created_at else ""
        what = f"the oldest: {one_line(oldest.invocation_id)}, {one_line(oldest.handler)}, {oldest.status}{since}"
        lines += [Text(f"{_INDENT}{line}", "dim") for line in _wrapped(what, width)]
    return lines


def _moving_sentence(moving: Moving) -> str:
    active = [
        f"{moving.by_status[status]:,} {status}"
        for status in (Status.RUNNING, Status.PENDING, Status.SUSPENDED, Status.PAUSED)
        if moving.by_status.get(status)
    ]
    told = ", ".join(active) or "nothing is active"
    rate = f"{_rate(moving.per_minute)} completed per minute ({_rate(moving.per_minute_in_hour)} in the last hour)"
    backlog = f"; {moving.backlog:,} wait for a slot, {_eta(moving.eta_seconds)}" if moving.backlog else ""
    return f"{told}; {rate}{backlog}"


def _fine(report: StatusReport, width: int) -> list[Text]:
    told = _wrapped(_fine_sentence(report), width)
    return [Text.assemble(DONE, " ", (told[0], "green")), *(Text(f"{_INDENT}{line}", "green") for line in told[1:])]


def _fine_sentence(report: StatusReport) -> str:
    """One sentence for all that is in order."""
    slots = sum(each.slots for each in report.processors)
    busy = sum(each.busy for each in report.processors)
    parts = []
    if report.processors:
        parts.append(f"{count(len(report.processors), 'live processor')} with {busy:,} of {slots:,} slots busy")
    if report.schedules:
        parts.append(count(report.schedules, "schedule"))
    if completed := report.moving.by_status.get(Status.COMPLETED):
        parts.append(f"{completed:,} completed")
    first = "The rest is fine" if report.needs_person else "Nothing needs a person"
    return f"{first}: {', '.join(parts)}." if parts else f"{first}."


def _wrapped(text: str, width: int) -> list[str]:
    room = max(_LEAST, width - len(_INDENT))
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
