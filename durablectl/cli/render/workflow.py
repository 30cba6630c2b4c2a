"""One workflow in full: what it is, what it does, its steps, and what came of it."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from durablectl.cli.output import printable
from durablectl.cli.render.history import dropped_lines, dropped_tables
from durablectl.cli.render.journal import journal_lines, journal_part, journal_table
from durablectl.cli.render.signs import FAILED, status_sign
from durablectl.cli.render.situation import answering, ended, failure, progressing, sign, situation
from durablectl.cli.render.wording import age, count, iso, one_line, shortened, value
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.query import WaitingView, WorkflowView

_LABEL = 11
_MOST_LINES = 20
_MOST_IDS = 10
_IDS = {"Id", "Parent", "Children", "Schedule", "Restart of", "Restarted"}


def workflow_page(view: WorkflowView, now: int, width: int, *, full: bool = False, history: bool = False) -> Text:
    """For a terminal. ``full`` shortens no value, ``history`` adds what retries have dropped from the journal."""
    limit = None if full else width
    parts = [
        Text("\n").join(_header(_facts(view, now, hint="" if history else "see --history"), limit, view.status)),
        _sentence(view, now, width),
    ]
    if view.total_steps:
        parts.append(journal_table(view, now, limit))
    if view.workflow_state:
        parts.append(_section("State", _pretty(view.workflow_state, full=full, invocation_id=view.invocation_id)))
    if view.status == Status.COMPLETED:
        parts.append(_section("Output", _pretty(view.output, full=full, invocation_id=view.invocation_id)))
    if view.error:
        parts.append(_section("Error", Text(_wrapped(printable(_error(view)), width), style=FAILED.style)))
    if view.traceback:
        parts.append(_section("Traceback", Text(printable(view.traceback.rstrip()), style="dim")))
    if history:
        parts += dropped_tables(view, now, limit)
    return Text("\n\n").join(part for part in parts if part.plain)


def workflow_text(view: WorkflowView, now: int, *, history: bool = False) -> str:
    """For a pipe: the same, tab-separated and whole, with RFC 3339 times."""
    parts = ["\n".join(f"{label}\t{text}" for label, text in (*_facts(view, None), ("Now", situation(view, now))))]
    if view.status == Status.COMPLETED:
        parts[0] += f"\nOutput\t{value(view.output)}"
    if view.error:
        parts[0] += f"\nError\t{failure(view)}"
    if command := answering(view):
        parts[0] += f"\nAnswer\t{command}"
    if view.journal:
        parts.append(journal_lines(view))
    if view.traceback:
        parts.append(printable(view.traceback.rstrip()))
    if history:
        parts += dropped_lines(view)
    return "\n\n".join(parts)


def watch_frame(view: WorkflowView, now: int, width: int, height: int, failed_before: WaitingView | None) -> Text:
    """What is live on the screen, at most ``height`` lines: of more steps than that, the newest."""
    around = 6  # title, sentence, and the lines that the journal adds to its rows
    return _watched(view, now, width, max(1, height - around), failed_before, live=True)


def watch_end(view: WorkflowView, now: int, width: int) -> Text:
    """What stays in the scrollback: every step, and what came of it."""
    page = _watched(view, now, width, None, None, live=False)
    if view.status == Status.COMPLETED:
        page.append("\n").append(shortened(f"→ {value(view.output)}", width))
    return page


def _watched(
    view: WorkflowView,
    now: int,
    width: int,
    newest: int | None,
    failed_before: WaitingView | None,
    *,
    live: bool,
) -> Text:
    title = Text.assemble((one_line(view.handler), "bold"), "  ", (one_line(view.invocation_id), "dim"))
    steps = journal_table(view, now, width, newest=newest, live=live, explain=True, failed_before=failed_before)
    told = Text.assemble(sign(view, now if live else None), " ", shortened(progressing(view, now), width - 2))
    told.stylize(sign(view).style)
    return Text("\n").join(part for part in (title, steps, told) if part.plain)


def _facts(view: WorkflowView, now: int | None, hint: str = "") -> Sequence[tuple[str, str]]:
    """Labels and texts, without those that are empty; times relative to ``now`` where it is given."""

    def moment(of: int) -> str:
        return iso(of) if now is None or not of else f"{iso(of)}  {age(of, now)} ago"

    facts = (
        ("Id", one_line(view.invocation_id)),
        ("Handler", one_line(view.handler)),
        ("Status", one_line(view.status)),
        ("Input", "" if view.input is None else value(view.input)),
        ("Partition", one_line(view.partition_key)),
        ("Parent", one_line(view.parent_id)),
        ("Children", _ids(view.children, now)),
        ("Schedule", one_line(view.schedule)),
        ("Restart of", one_line(view.restarted_from)),
        ("Restarted", f"as {one_line(view.restarted_as)}" if view.restarted_as else ""),
        ("Retried", _retried(view, hint)),
        ("Attempt", str(view.attempt) if view.attempt > 1 else ""),
        ("Owner", one_line(view.owner)),
        ("Created", moment(view.created_at)),
        ("Started", moment(view.started_at)),
        ("Finished", moment(view.finished_at)),
        ("Expires", moment(view.expires_at)),
        ("Steps", journal_part(view) if now is None else ""),
        ("Reason", one_line(view.reason) if now is None else ""),
        ("State", value(dict(view.workflow_state)) if view.workflow_state and now is None else ""),
    )
    return [(label, text) for label, text in facts if text]


def _ids(ids: Sequence[str], now: int | None) -> str:
    """One below the other on a terminal, where there may be too many."""
    shown = [one_line(each) for each in ids]
    if now is None:
        return " ".join(shown)
    more = len(shown) - _MOST_IDS
    return f"\n{'':<{_LABEL}}".join([*shown[:_MOST_IDS], *([f"and {more:,} more, see --json"] if more > 0 else [])])


def _retried(view: WorkflowView, hint: str) -> str:
    times = len(view.history or ())
    return f"{count(times, 'time')}{f', {hint}' if hint else ''}" if times else ""


def _header(facts: Sequence[tuple[str, str]], width: int | None, status: str) -> Iterator[Text]:
    for label, text in facts:
        whole = width is None or label in _IDS
        shown = text if whole else shortened(text, max(1, (width or 0) - _LABEL))
        style = status_sign(status).style if label == "Status" else ""
        yield Text.assemble((f"{label:<{_LABEL}}", "dim"), (shown, style))


def _error(view: WorkflowView) -> str:
    return f"{view.error_type}: {view.error}" if view.error_type not in {"", "StepError"} else view.error


def _sentence(view: WorkflowView, now: int, width: int) -> Text:
    """An error stands in a section of its own."""
    told = ended(view) if is_terminal(view.status) and view.error else situation(view, now)
    sentence = Text.assemble(sign(view), " ", (_wrapped(told, width - 2).replace("\n", "\n  "), "bold"))
    if command := answering(view):
        sentence.append(f"\n  {command}", "cyan")
    return sentence


def _wrapped(text: str, width: int) -> str:
    """Between words; a word that is longer than a line is left whole."""
    wrap = textwrap.TextWrapper(max(20, width), break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) if len(line) > width else line for line in text.split("\n"))


def _section(title: str, body: Text) -> Text:
    return Text.assemble((title, "bold"), "\n", body)


def _pretty(data: Any, *, full: bool, invocation_id: str) -> Text:
    lines = printable(json.dumps(data, ensure_ascii=False, indent=2)).split("\n")
    if full or len(lines) <= _MOST_LINES:
        return Text("\n".join(lines))
    rest = f"{count(len(lines) - _MOST_LINES, 'more line')}: durablectl wf get {invocation_id} --json"
    return Text.assemble("\n".join(lines[:_MOST_LINES]), "\n", (f"… {rest}", "dim"))
