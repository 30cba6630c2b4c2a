"""One workflow in full: what it is, what it does, its steps, and what came of it."""

from __future__ import annotations

import functools
import json
import textwrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from durablectl.cli.render.audit import audit_lines, audit_table
from durablectl.cli.render.children import children_below, children_summary
from durablectl.cli.render.formatting import (
    ISO,
    RELATIVE,
    count,
    format_time,
    format_time_long,
    one_line,
    printable,
    value,
)
from durablectl.cli.render.journal import dropped_lines, dropped_tables, journal_lines, journal_part, journal_table
from durablectl.cli.render.list import ListStyle, workflow_lines
from durablectl.cli.render.status_sentence import (
    answer_command,
    end_sentence,
    error_text,
    status_sentence,
    workflow_symbol,
)
from durablectl.cli.render.symbols import FAILED, status_symbol
from durablectl.cli.render.table import shortened
from durablectl.cli.render.workflow_cells import progress_bar
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from durablectl.cli.render.formatting import TimeFormat
    from durablectl.model.audit import AuditRecord
    from durablectl.query import UnclaimedView, WorkflowView

_LABEL = 11
_MOST_LINES = 20
_IDS = {"Id", "Parent", "Schedule", "Restart of", "Restarted"}


def workflow_page(
    view: WorkflowView,
    now: int,
    width: int,
    *,
    children: Sequence[WorkflowView] = (),
    usual: int = 0,
    full: bool = False,
    history: bool = False,
    changes: Sequence[AuditRecord] = (),
    times: TimeFormat = RELATIVE,
) -> Text:
    """For a terminal.

    ``usual`` is how many steps its handler usually has, 0 where that is not known. ``full`` shortens no value,
    ``history`` adds what retries have dropped from the journal; ``changes`` are those of the audit trail.
    """
    limit = None if full else width
    tell = functools.partial(format_time_long, times, now=now)
    facts = _facts(view, tell, children_summary(view, children), hint="" if history else ", see --history")
    parts = [Text("\n").join(_header(view, facts, usual, limit)), _sentence(view, now, width)]
    if view.total_steps:
        below = children_below(view, children, now, limit)
        parts.append(journal_table(view, now, limit, below=below, times=times))
    if view.unclaimed:
        parts.append(_unclaimed(view, tell, limit))
    if view.workflow_state:
        parts.append(_section("State", _pretty(view.workflow_state, full=full, invocation_id=view.invocation_id)))
    if view.status == Status.COMPLETED:
        parts.append(_section("Output", _pretty(view.output, full=full, invocation_id=view.invocation_id)))
    if view.error:
        parts.append(_section("Error", Text(_wrapped(printable(_error(view)), width), style=FAILED.style)))
    if view.traceback:
        parts.append(_section("Traceback", Text(printable(view.traceback.rstrip()), style="dim")))
    if changes:
        parts.append(_section("Changes", audit_table(changes, now, width, times)))
    if history:
        parts += dropped_tables(view, now, limit, times)
    return Text("\n\n").join(part for part in parts if part.plain)


def workflow_text(
    view: WorkflowView,
    now: int,
    *,
    children: Sequence[WorkflowView] = (),
    history: bool = False,
    changes: Sequence[AuditRecord] = (),
    times: TimeFormat = ISO,
) -> str:
    """For a pipe: the same, tab-separated and whole; the children stand in a table of their own."""
    tell = functools.partial(format_time, times, now=now)
    facts = (*_facts(view, tell, " ".join(map(one_line, view.children))), *_more_in_pipe(view))
    parts = ["\n".join(f"{label}\t{text}" for label, text in (*facts, ("Now", status_sentence(view, now))))]
    if view.status == Status.COMPLETED:
        parts[0] += f"\nOutput\t{value(view.output)}"
    if view.error:
        parts[0] += f"\nError\t{error_text(view)}"
    if command := answer_command(view):
        parts[0] += f"\nAnswer\t{command}"
    for each in view.unclaimed:
        parts[0] += f"\nUnclaimed\t{_message(each)}\t{tell(each.sent_at)}"
    if view.journal:
        parts.append(journal_lines(view, tell))
    if children:
        parts.append(workflow_lines(children, now, ListStyle(times)))
    if view.traceback:
        parts.append(printable(view.traceback.rstrip()))
    if changes:
        parts.append(audit_lines(changes, now, times))
    if history:
        parts += dropped_lines(view, tell)
    return "\n\n".join(parts)


def _facts(view: WorkflowView, tell: Callable[[int], str], children: str, hint: str = "") -> Sequence[tuple[str, str]]:
    """Labels and texts, without those that are empty; ``tell`` writes a moment."""
    facts = (
        ("Id", one_line(view.invocation_id)),
        ("Handler", one_line(view.handler)),
        ("Status", one_line(view.status)),
        ("Input", "" if view.input is None else value(view.input)),
        ("Partition", one_line(view.partition_key)),
        ("Parent", one_line(view.parent_id)),
        ("Children", children),
        ("Schedule", one_line(view.schedule)),
        ("Restart of", one_line(view.restarted_from)),
        ("Restarted", f"as {one_line(view.restarted_as)}" if view.restarted_as else ""),
        ("Attempt", str(view.attempt) if view.attempt > 1 else ""),
        ("Owner", one_line(view.owner)),
        ("Created", tell(view.created_at)),
        ("Started", tell(view.started_at)),
        ("Finished", tell(view.finished_at)),
        ("Expires", tell(view.expires_at)),
        ("Retried", f"{count(len(view.history), 'time')}{hint}" if view.history else ""),
    )
    return [(label, text) for label, text in facts if text]


def _more_in_pipe(view: WorkflowView) -> Sequence[tuple[str, str]]:
    """What stands elsewhere on a terminal."""
    facts = (
        ("Steps", journal_part(view)),
        ("Reason", one_line(view.reason)),
        ("State", value(dict(view.workflow_state)) if view.workflow_state else ""),
    )
    return [(label, text) for label, text in facts if text]


def _header(view: WorkflowView, facts: Sequence[tuple[str, str]], usual: int, width: int | None) -> Iterator[Text]:
    for label, text in facts:
        whole = width is None or label in _IDS
        shown = text if whole else shortened(text, max(1, (width or 0) - _LABEL))
        line = Text.assemble((f"{label:<{_LABEL}}", "dim"), shown)
        if label == "Status":
            line.stylize(status_symbol(view.status).style, _LABEL)
            line.append("  ").append_text(progress_bar(view, usual)).rstrip()
        yield line


def _error(view: WorkflowView) -> str:
    return f"{view.error_type}: {view.error}" if view.error_type not in {"", "StepError"} else view.error


def _sentence(view: WorkflowView, now: int, width: int) -> Text:
    """An error stands in a section of its own."""
    told = end_sentence(view) if is_terminal(view.status) and view.error else status_sentence(view, now)
    sentence = Text.assemble(workflow_symbol(view), " ", (_wrapped(told, width - 2).replace("\n", "\n  "), "bold"))
    if command := answer_command(view) or _mending(view):
        sentence.append(f"\n  {command}", "cyan")
    return sentence


def _mending(view: WorkflowView) -> str:
    """The command without which it stays as it is."""
    verb = {Status.PAUSED: "resume", Status.FAILED: "retry"}.get(view.status)  # type: ignore[call-overload]
    return f"durablectl wf {verb} {one_line(view.invocation_id)}" if verb else ""


def _wrapped(text: str, width: int) -> str:
    """Between words; a word that is longer than a line is left whole."""
    wrap = textwrap.TextWrapper(max(20, width), break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap.fill(line) if len(line) > width else line for line in text.split("\n"))


def _section(title: str, body: Text) -> Text:
    return Text.assemble((title, "bold"), "\n", body)


def _unclaimed(view: WorkflowView, tell: Callable[[int], str], width: int | None) -> Text:
    """What came in, and it has not asked for yet; ``width`` None shortens nothing."""
    shown = view.unclaimed if width is None else view.unclaimed[:_MOST_LINES]
    body = Text()
    for each in shown:
        sent = f"  {tell(each.sent_at)}"
        message = _message(each)
        body.append(message if width is None else shortened(message, max(1, width - len(sent))))
        body.append(f"{sent}\n", "dim")
    if len(shown) < len(view.unclaimed):
        rest = f"{len(view.unclaimed) - len(shown)} more: durablectl wf get {view.invocation_id} --full"
        body.append(f"… {rest}", "dim")
    body.rstrip()
    return _section("Unclaimed: kept until the workflow asks for it", body)


def _message(unclaimed: UnclaimedView) -> str:
    name = one_line(unclaimed.awakeable_id or unclaimed.name)
    what = f"rejected: {one_line(unclaimed.error)}" if unclaimed.error else value(unclaimed.data)
    return f"{unclaimed.kind} {name}  {what}"


def _pretty(data: Any, *, full: bool, invocation_id: str) -> Text:
    lines = printable(json.dumps(data, ensure_ascii=False, indent=2)).split("\n")
    if full or len(lines) <= _MOST_LINES:
        return Text("\n".join(lines))
    rest = f"{count(len(lines) - _MOST_LINES, 'more line')}: durablectl wf get {invocation_id} --json"
    return Text.assemble("\n".join(lines[:_MOST_LINES]), "\n", (f"… {rest}", "dim"))
