"""State changes, a line each."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import iso, one_line
from durablectl.cli.render.status_sentence import error_text, is_retrying, workflow_symbol
from durablectl.cli.render.symbols import RETRYING, Symbol, status_symbol
from durablectl.cli.render.table import UNLIMITED, Column, plain, table
from durablectl.model.clock import to_datetime
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status
from durablectl.query import DELETED, ParsedError

if TYPE_CHECKING:
    from datetime import tzinfo

    from durablectl.query import StateChange, WorkflowView

_GONE = Symbol("⊘", "bright_black")
_USUAL_ID = 23
_ROOMY = 100
_LONGEST_STATUS = max(map(len, Status))


class TailLines:
    """For a terminal. Columns are as wide as what has been shown so far needs, so that lines stay below each other.

    ``zone`` None is that of this machine.
    """

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self._id_width = _USUAL_ID
        self._handler_width = 0

    def line(self, change: StateChange, now: int, width: int, *, wide: bool = False) -> Text:
        """At most ``width`` columns, unless the id alone needs more. ``wide`` also has revision and owner, uncut."""
        view = change.view
        shown = _sign(view)
        invocation_id, handler = one_line(view.invocation_id), one_line(view.handler)
        self._id_width = max(self._id_width, len(invocation_id))
        self._handler_width = max(self._handler_width, len(handler))
        rare = (
            [plain("REVISION", [str(view.revision)], right=True), plain("OWNER", [one_line(view.owner) or "-"])]
            if wide
            else []
        )
        columns = [
            plain("TIME", [self._time(change.timestamp_us, now, fine=wide or width >= _ROOMY)], "dim", drop=1),
            Column("", [Text(*shown)]),
            Column("STATUS", [Text(f"{one_line(view.status):<{_LONGEST_STATUS}}", shown.style)], drop=2),
            plain("ID", [f"{invocation_id:<{self._id_width}}"]),
            *rare,
            plain("HANDLER", [f"{handler:<{self._handler_width}}"], drop=3),
            Column("DETAIL", [_detail(view)], drop=4, least=0 if wide else 12),
        ]
        return table(columns, UNLIMITED if wide else width, header=False)

    def _time(self, moment: int, now: int, *, fine: bool) -> str:
        """With the date where that is not today's, and with milliseconds where there is room for them."""
        at = to_datetime(moment).astimezone(self._zone)
        text = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}" if fine else f"{at:%H:%M:%S}"
        return text if at.date() == self._today(now) else f"{at:%Y-%m-%d} {text}"

    def _today(self, now: int) -> date:
        return datetime.date(to_datetime(now).astimezone(self._zone))


def tail_line(change: StateChange, *, wide: bool = False) -> str:
    """For a pipe: time, status, id, handler, step, its name, revision and error with a tab between; nothing cut."""
    view = change.view
    step = str(view.current_step) if view.current_step >= 0 else ""
    cells = [iso(change.timestamp_us), view.status, view.invocation_id, view.handler, step, view.current_step_type]
    cells += [str(view.revision), _trouble(view)]
    if wide:
        cells += [view.partition_key, str(view.attempt), view.owner, view.parent_id]
    return "\t".join(map(one_line, cells))


def _sign(view: WorkflowView) -> Symbol:
    return _GONE if view.status == DELETED else workflow_symbol(view)


def _detail(view: WorkflowView) -> Text:
    """The current step as ``2 HelloService.SayHello``, or that in which it failed, and what went wrong."""
    error_text = ParsedError.from_view(view)
    step = f"{error_text.step_number} {one_line(error_text.step_type)}" if error_text.step_number >= 0 else ""
    trouble = one_line(_trouble(replace(view, error=error_text.message, failed_step=None)))
    style = RETRYING.style if is_retrying(view) else status_symbol(view.status).style
    return Text.assemble(step, "  " if step and trouble else "", (trouble, style))


def _trouble(view: WorkflowView) -> str:
    reason = view.waiting_for
    if reason is not None and reason.kind == WaitKind.RETRY:
        return f"attempt {reason.attempt} failed: {reason.error}"
    return error_text(view) or view.reason
