"""Lists of workflows and of processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.board import happening, status, time
from durablectl.cli.render.situation import failure, has_current, sign
from durablectl.cli.render.table import Column, plain, separated, table
from durablectl.cli.render.wording import age, compact, iso, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.query import ProcessorView, WorkflowView

_PLAIN: Sequence[tuple[str, Callable[[WorkflowView], object], bool]] = (
    # title, cell, only with -o wide
    ("ID", lambda view: view.invocation_id, False),
    ("HANDLER", lambda view: view.handler, False),
    ("STATUS", lambda view: view.status, False),
    ("STEP", lambda view: view.current_step, False),
    ("STEP_TYPE", lambda view: view.current_step_type, False),
    ("STEPS", lambda view: view.total_steps, False),
    ("CREATED", lambda view: iso(view.created_at), False),
    ("STARTED", lambda view: iso(view.started_at), True),
    ("UPDATED", lambda view: iso(view.updated_at), True),
    ("FINISHED", lambda view: iso(view.finished_at), False),
    ("PARTITION_KEY", lambda view: view.partition_key, True),
    ("ATTEMPT", lambda view: view.attempt, True),
    ("OWNER", lambda view: view.owner, True),
    ("PARENT", lambda view: view.parent_id, True),
    ("REVISION", lambda view: view.revision, True),
    ("ERROR", lambda view: failure(view) or view.reason, False),
)


def workflow_table(views: Sequence[WorkflowView], now: int, width: int, *, wide: bool = False) -> Text:
    """For a terminal, with relative times. ``wide`` shows everything, however wide that is."""
    rare = [
        plain("PARTITION", [one_line(view.partition_key) for view in views]),
        plain("ATTEMPT", [str(view.attempt) for view in views], right=True),
        plain("OWNER", [one_line(view.owner) for view in views]),
        plain("PARENT", [one_line(view.parent_id) for view in views]),
    ]
    return table(
        [
            Column("", [Text(*sign(view)) for view in views]),
            plain("ID", [one_line(view.invocation_id) for view in views]),
            plain("HANDLER", [one_line(view.handler) for view in views], drop=1),
            Column("STATUS", [status(view) for view in views], drop=3),
            plain("AGE", [compact(age(view.created_at, now)) for view in views], drop=2, right=True),
            plain("TIME", [time(view, now) for view in views], drop=5, right=True),
            *(rare if wide else []),
            Column("DETAIL", [detail(view, now) for view in views], drop=4, least=0 if wide else 24),
        ],
        width if not wide else 1_000_000,
    )


def detail(view: WorkflowView, now: int) -> Text:
    """The current step as ``2 HelloService.SayHello  1.2 s``; otherwise as on the board."""
    told = happening(view, now)
    return (
        Text.assemble(f"{view.current_step} ", told) if has_current(view) and told.plain and not view.reason else told
    )


def workflow_lines(views: Sequence[WorkflowView], *, wide: bool = False) -> str:
    """For a pipe: tab-separated, RFC 3339, nothing shortened."""
    return separated(
        [(title, [one_line(str(cell(view))) for view in views]) for title, cell, rare in _PLAIN if wide or not rare]
    )


def rest_note(shown: int, total: int, *, more: bool) -> str:
    """What the list does not show; empty when it is complete."""
    if not total:
        return "No workflows."
    if shown >= total:
        return ""
    return f"Showing {shown:,} of {total:,}." if more else f"Showing the last {shown:,} of {total:,}."


def processor_table(views: Sequence[ProcessorView], now: int, width: int) -> Text:
    return table(
        [
            plain("PROCESSOR", [one_line(view.processor_id) for view in views]),
            plain("BUSY", [f"{view.busy}/{view.slots}" for view in views], right=True),
            plain("AGE", [compact(age(view.started_at, now)) for view in views], drop=2, right=True),
            plain("VERSION", [one_line(view.version) for view in views], drop=3),
            plain("HANDLERS", [one_line(", ".join(view.handlers)) for view in views], drop=1, least=16),
        ],
        width,
    )


def processor_lines(views: Sequence[ProcessorView]) -> str:
    rows = [[one_line(str(cell)) for cell in _processor(view)] for view in views]
    titles = ("PROCESSOR", "HOST", "PID", "BUSY", "SLOTS", "STARTED", "VERSION", "HANDLERS")
    return separated([(title, [row[index] for row in rows]) for index, title in enumerate(titles)])


def _processor(view: ProcessorView) -> tuple[object, ...]:
    return (
        view.processor_id,
        view.host,
        view.process_id,
        view.busy,
        view.slots,
        iso(view.started_at),
        view.version,
        ",".join(view.handlers),
    )
