"""Lists of workflows and of processors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from durablectl.cli.options.times import ISO, RELATIVE, Style, Times
from durablectl.cli.render.formatting import age, clock, compact, moment_in, one_line, seconds, value
from durablectl.cli.render.progress_bar import progress_bar
from durablectl.cli.render.status_sentence import failure, has_current, is_retrying, sign, situation
from durablectl.cli.render.symbols import FAILED
from durablectl.cli.render.table import Column, plain, separated, table
from durablectl.cli.render.workflow_cells import happening, status, time
from durablectl.cli.terminal.output import WIDE
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from durablectl.query import ProcessorView, WorkflowView


@dataclass(frozen=True)
class Look:
    """How a list is shown.

    ``columns`` as in COLUMNS, none for the usual ones; ``wide`` for all that are useful, however wide that is.
    ``usual`` is how many steps a run of a handler usually has, where that is known.
    """

    times: Times
    columns: Sequence[str] = ()
    wide: bool = False
    usual: Mapping[str, int] = field(default_factory=dict)


ON_TERMINAL, IN_PIPE = Look(RELATIVE), Look(ISO)


class _Cells(NamedTuple):
    """What a column holds: on a terminal, and in a pipe where that differs. ``drop`` and ``least`` as of Column."""

    shown: Callable[[WorkflowView, int, Look], Text | str]
    piped: Callable[[WorkflowView, int, Look], object] | None = None
    drop: int = 9
    least: int = 0
    right: bool = False


def _moment(of: Callable[[WorkflowView], int]) -> _Cells:
    return _Cells(lambda view, now, look: moment_in(look.times, of(view), now))


def _text(of: Callable[[WorkflowView], str], least: int = 0) -> _Cells:
    return _Cells(lambda view, *_: one_line(of(view)), least=least)


def _number(of: Callable[[WorkflowView], int]) -> _Cells:
    return _Cells(lambda view, *_: str(of(view)), right=True)


_CELLS: Mapping[str, _Cells] = {
    "id": _Cells(lambda view, *_: one_line(view.invocation_id), drop=0),
    "handler": _Cells(lambda view, *_: one_line(view.handler), drop=1),
    "status": _Cells(lambda view, *_: status(view), drop=3),
    "progress": _Cells(lambda view, _, look: _bar(view, look), lambda view, _, look: _of_usual(view, look), drop=6),
    "step": _Cells(lambda view, now, _: _step(view, now), lambda view, *_: view.current_step, least=12),
    "step_type": _text(lambda view: view.current_step_type, 8),
    "steps": _number(lambda view: view.total_steps),
    "created": _moment(lambda view: view.created_at)._replace(drop=2),
    "started": _moment(lambda view: view.started_at),
    "updated": _moment(lambda view: view.updated_at),
    "finished": _moment(lambda view: view.finished_at),
    "expires": _moment(lambda view: view.expires_at),
    "time": _Cells(lambda view, now, _: time(view, now), lambda view, now, _: _seconds(view, now), drop=5, right=True),
    "partition_key": _text(lambda view: view.partition_key),
    "attempt": _number(lambda view: view.attempt),
    "owner": _text(lambda view: view.owner),
    "parent": _text(lambda view: view.parent_id),
    "schedule": _text(lambda view: view.schedule),
    "revision": _number(lambda view: view.revision),
    "input": _Cells(lambda view, *_: "" if view.input is None else value(view.input), least=12),
    "output": _Cells(lambda view, *_: value(view.output) if view.status == Status.COMPLETED else "", least=12),
    "error": _Cells(
        lambda view, *_: Text(failure(view), style=FAILED.style),
        lambda view, *_: failure(view) or one_line(view.reason),
        least=12,
    ),
    "reason": _text(lambda view: view.reason, 12),
    "detail": _Cells(
        lambda view, now, _: detail(view, now), lambda view, now, _: situation(view, now), drop=4, least=24
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


def workflow_table(views: Sequence[WorkflowView], now: int, width: int, look: Look = ON_TERMINAL) -> Text:
    """For a terminal. Columns that were asked for are all there, whatever the width; of others the least go first."""
    names = look.columns or (_TERMINAL_WIDE if look.wide else _TERMINAL)
    columns = [_column(name, views, now, look) for name in names]
    if not look.columns:
        columns = [column for column in columns if column.title != "PROGRESS" or any(map(str, column.cells))]
    signs = Column("", [Text(*sign(view)) for view in views])
    return table([signs, *columns], WIDE if look.wide else width)


def _column(name: str, views: Sequence[WorkflowView], now: int, look: Look) -> Column:
    cells = _CELLS[name]
    title = name.upper()
    texts = [cells.shown(view, now, look) for view in views]
    if name == "created" and look.times.style is Style.RELATIVE:
        title, cells = "AGE", cells._replace(right=True)
        texts = [compact(age(view.created_at, now)) for view in views]
    return Column(
        title,
        [text if isinstance(text, Text) else Text(text) for text in texts],
        drop=0 if look.columns else cells.drop,
        least=0 if look.wide else cells.least,
        right=cells.right,
    )


def _bar(view: WorkflowView, look: Look) -> Text:
    return progress_bar(view, look.usual.get(view.handler, 0))


def _of_usual(view: WorkflowView, look: Look) -> str:
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
    return Text.assemble(told, (f"  {clock(now - view.updated_at)}", "dim"))


def detail(view: WorkflowView, now: int) -> Text:
    """The current step as ``2 HelloService.SayHello  1.2 s``; otherwise as on the board."""
    told = happening(view, now)
    if view.status == Status.PENDING and not told.plain:
        return Text(situation(view, now), style="dim")
    waits = view.waiting_for is not None and not is_retrying(view)
    if not has_current(view) or not told.plain or view.reason or waits:
        return told
    return Text.assemble(f"{view.current_step} ", told)


def workflow_lines(views: Sequence[WorkflowView], now: int = 0, look: Look = IN_PIPE) -> str:
    """For a pipe: tab-separated, nothing shortened. ``now`` is for relative times and for what still goes on."""
    names = look.columns or (_PIPE_WIDE if look.wide else _PIPE)
    return separated([(name.upper(), [_piped(name, view, now, look) for view in views]) for name in names])


def _piped(name: str, view: WorkflowView, now: int, look: Look) -> str:
    cells = _CELLS[name]
    return str((cells.piped or cells.shown)(view, now, look))


def rest_note(shown: int, total: int, *, more: bool) -> str:
    """What the list does not show; empty when it is complete."""
    if not total:
        return "No workflows."
    if shown >= total:
        return ""
    return f"Showing {shown:,} of {total:,}." if more else f"Showing the last {shown:,} of {total:,}."


def processor_table(views: Sequence[ProcessorView], now: int, width: int, times: Times = RELATIVE) -> Text:
    """For a terminal."""
    started = plain("STARTED", [moment_in(times, view.started_at, now) for view in views], drop=2)
    if times.style is Style.RELATIVE:
        started = plain("AGE", [compact(age(view.started_at, now)) for view in views], drop=2, right=True)
    return table(
        [
            plain("PROCESSOR", [one_line(view.processor_id) for view in views]),
            plain("BUSY", [f"{view.busy}/{view.slots}" for view in views], right=True),
            started,
            plain("VERSION", [one_line(view.version) for view in views], drop=3),
            plain("HANDLERS", [one_line(", ".join(view.handlers)) for view in views], drop=1, least=16),
        ],
        width,
    )


def processor_lines(views: Sequence[ProcessorView], now: int = 0, times: Times = ISO) -> str:
    """For a pipe; ``now`` is for relative times."""
    rows = [[one_line(str(cell)) for cell in _processor(view, now, times)] for view in views]
    titles = ("PROCESSOR", "HOST", "PID", "BUSY", "SLOTS", "STARTED", "VERSION", "HANDLERS")
    return separated([(title, [row[index] for row in rows]) for index, title in enumerate(titles)])


def _processor(view: ProcessorView, now: int, times: Times) -> tuple[object, ...]:
    return (
        view.processor_id,
        view.host,
        view.process_id,
        view.busy,
        view.slots,
        moment_in(times, view.started_at, now),
        view.version,
        ",".join(view.handlers),
    )
