"""Lists of workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from durablectl.cli.render.formatting import (
    ISO,
    RELATIVE,
    TimeFormat,
    TimeStyle,
    age,
    compact,
    elapsed,
    format_time,
    one_line,
    seconds,
    value,
)
from durablectl.cli.render.status_sentence import error_text, has_current, status_sentence, workflow_symbol
from durablectl.cli.render.symbols import FAILED
from durablectl.cli.render.table import UNLIMITED, Column, separated, table
from durablectl.cli.render.workflow_cells import detail, duration_cell, progress_bar, status_cell
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from durablectl.query import WorkflowView


@dataclass(frozen=True)
class ListStyle:
    """How a list is shown.

    ``columns`` as in COLUMNS, none for the usual ones; ``wide`` for all that are useful, however wide that is.
    ``usual`` is how many steps a run of a handler usually has, where that is known.
    """

    times: TimeFormat
    columns: Sequence[str] = ()
    wide: bool = False
    usual: Mapping[str, int] = field(default_factory=dict)


ON_TERMINAL, IN_PIPE = ListStyle(RELATIVE), ListStyle(ISO)


class ListColumn(NamedTuple):
    """What a column holds: on a terminal, and in a pipe where that differs. ``drop`` and ``least`` are those of Column.

    ``json_field`` is the field of the JSON where that has another name than the column.
    """

    shown: Callable[[WorkflowView, int, ListStyle], Text | str]
    piped: Callable[[WorkflowView, int, ListStyle], object] | None = None
    drop: int = 9
    least: int = 0
    right: bool = False
    json_field: str = ""
    in_middle: bool = False
    floor: int = 0


def _time(json_field: str, of: Callable[[WorkflowView], int]) -> ListColumn:
    return ListColumn(lambda view, now, look: format_time(look.times, of(view), now), json_field=json_field)


def _text(of: Callable[[WorkflowView], str], least: int = 0) -> ListColumn:
    return ListColumn(lambda view, *_: one_line(of(view)), least=least)


def _number(of: Callable[[WorkflowView], int]) -> ListColumn:
    return ListColumn(lambda view, *_: str(of(view)), right=True)


COLUMNS: Mapping[str, ListColumn] = {
    "id": ListColumn(
        lambda view, *_: one_line(view.invocation_id), drop=0, json_field="invocation_id", in_middle=True, floor=24
    ),
    "handler": ListColumn(lambda view, *_: one_line(view.handler), drop=1, least=16, in_middle=True, floor=10),
    "status": ListColumn(lambda view, *_: status_cell(view), drop=3),
    "progress": ListColumn(lambda view, _, look: _bar(view, look), lambda view, _, look: _of_usual(view, look), drop=6),
    "step": ListColumn(
        lambda view, now, _: _step(view, now),
        lambda view, *_: view.current_step,
        least=12,
        json_field="current_step",
    ),
    "step_type": _text(lambda view: view.current_step_type, 8)._replace(json_field="current_step_type"),
    "steps": _number(lambda view: view.total_steps)._replace(json_field="total_steps"),
    "created": _time("created_at", lambda view: view.created_at)._replace(drop=2),
    "started": _time("started_at", lambda view: view.started_at),
    "updated": _time("updated_at", lambda view: view.updated_at),
    "finished": _time("finished_at", lambda view: view.finished_at),
    "expires": _time("expires_at", lambda view: view.expires_at),
    "time": ListColumn(
        lambda view, now, _: duration_cell(view, now), lambda view, now, _: _seconds(view, now), drop=5, right=True
    ),
    "partition_key": _text(lambda view: view.partition_key),
    "attempt": _number(lambda view: view.attempt),
    "owner": _text(lambda view: view.owner),
    "parent": _text(lambda view: view.parent_id)._replace(json_field="parent_id"),
    "schedule": _text(lambda view: view.schedule),
    "revision": _number(lambda view: view.revision),
    "input": ListColumn(lambda view, *_: "" if view.input is None else value(view.input), least=12),
    "output": ListColumn(lambda view, *_: value(view.output) if view.status == Status.COMPLETED else "", least=12),
    "error": ListColumn(
        lambda view, *_: Text(error_text(view), style=FAILED.style),
        lambda view, *_: error_text(view) or one_line(view.reason),
        least=12,
    ),
    "reason": _text(lambda view: view.reason, 12),
    "detail": ListColumn(
        lambda view, now, _: detail(view, now),
        lambda view, now, _: status_sentence(view, now),
        drop=4,
        least=25,
        json_field="waiting_for",
    ),
}
_TERMINAL = ("id", "handler", "status", "progress", "created", "time", "detail")
_TERMINAL_WIDE = (
    *("id", "handler", "status", "progress", "steps", "created", "started", "updated", "finished", "time"),
    *("partition_key", "attempt", "owner", "parent", "schedule", "detail"),
)
_PIPE = ("id", "handler", "status", "step", "step_type", "steps", "created", "finished", "error")
_PIPE_WIDE = (
    *("id", "handler", "status", "step", "step_type", "steps", "created", "started", "updated", "finished"),
    *("partition_key", "attempt", "owner", "parent", "revision", "error"),
)


def workflow_table(views: Sequence[WorkflowView], now: int, width: int, look: ListStyle = ON_TERMINAL) -> Text:
    """For a terminal. Columns that were asked for are all there, whatever the width; of others the least go first."""
    names = look.columns or (_TERMINAL_WIDE if look.wide else _TERMINAL)
    columns = [_column(name, views, now, look) for name in names]
    if not look.columns:
        columns = [column for column in columns if column.title != "PROGRESS" or any(map(str, column.cells))]
    symbols = Column("", [Text(*workflow_symbol(view)) for view in views])
    return table([symbols, *columns], UNLIMITED if look.wide else width)


def _column(name: str, views: Sequence[WorkflowView], now: int, look: ListStyle) -> Column:
    cells = COLUMNS[name]
    title = name.upper()
    texts = [cells.shown(view, now, look) for view in views]
    if name == "created" and look.times.style is TimeStyle.RELATIVE:
        title, cells = "AGE", cells._replace(right=True)
        texts = [compact(age(view.created_at, now)) for view in views]
    return Column(
        title,
        [text if isinstance(text, Text) else Text(text) for text in texts],
        drop=0 if look.columns else cells.drop,
        least=0 if look.wide or (look.columns and cells.in_middle) else cells.least,
        right=cells.right,
        in_middle=cells.in_middle,
        floor=0 if look.columns or look.wide else cells.floor,
    )


def _bar(view: WorkflowView, look: ListStyle) -> Text:
    return progress_bar(view, look.usual.get(view.handler, 0))


def _of_usual(view: WorkflowView, look: ListStyle) -> str:
    """``4/6``."""
    return _bar(view, look).plain.rpartition(" ")[2]


def _seconds(view: WorkflowView, now: int) -> str:
    """How long it took, or has taken until ``now``."""
    taken = (view.finished_at or now) - view.started_at
    return seconds(max(0, taken)) if view.started_at else ""


def _step(view: WorkflowView, now: int) -> Text:
    """``2 HelloService.SayHello  1.2 s``."""
    if not has_current(view):
        return Text("")
    told = f"{view.current_step} {one_line(view.current_step_type)}"
    return Text.assemble(told, (f"  {elapsed(now - view.updated_at)}", "dim"))


def workflow_lines(views: Sequence[WorkflowView], now: int = 0, look: ListStyle = IN_PIPE) -> str:
    """For a pipe: tab-separated, nothing shortened. ``now`` is for relative times and for what still goes on."""
    names = look.columns or (_PIPE_WIDE if look.wide else _PIPE)
    return separated([(name.upper(), [_piped(name, view, now, look) for view in views]) for name in names])


def _piped(name: str, view: WorkflowView, now: int, look: ListStyle) -> str:
    cells = COLUMNS[name]
    return str((cells.piped or cells.shown)(view, now, look))


def rest_note(shown: int, total: int, *, more: bool) -> str:
    """What the list does not show; empty when it is complete."""
    if not total:
        return "No workflows."
    if shown >= total:
        return ""
    return f"Showing {shown:,} of {total:,}." if more else f"Showing the last {shown:,} of {total:,}."
