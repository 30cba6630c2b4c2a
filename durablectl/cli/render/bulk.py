"""What became of each workflow that an operation was about, and which ones it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from durablectl.cli.render.formatting import age, compact, count, iso, one_line
from durablectl.cli.render.symbols import DONE, FAILED, status_symbol
from durablectl.cli.render.table import Column, names, plain, separated, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.control import OperationResult
    from durablectl.errors import DurableError
    from durablectl.query import SelectedWorkflow


def result_line(invocation_id: str, result: OperationResult | DurableError, width: int) -> Text:
    """For a terminal: a symbol, the id in ``width`` columns, what happened."""
    error = _error(result)
    told = result.message if error is None else one_line(error.message)
    return Text.assemble(
        DONE if error is None else FAILED,
        f" {one_line(invocation_id):<{width}}  ",
        (told, "" if error is None else "red"),
    )


def result_text(invocation_id: str, result: OperationResult | DurableError) -> str:
    """For a pipe: id, ``ok`` or ``failed``, what happened."""
    state = "ok" if _error(result) is None else "failed"
    return "\t".join((one_line(invocation_id), state, one_line(result.message)))


def result_json(invocation_id: str, result: OperationResult | DurableError) -> dict[str, Any]:
    """As one id alone would give, with ``ok`` and ``error``; the same keys whatever happened."""
    error = _error(result)
    if error is None:
        return {**result.to_json(), "ok": True, "error": None}  # type: ignore[union-attr]
    return {
        "invocation_id": invocation_id,
        "status": None,
        "changed": False,
        "message": error.message,
        "restarted_from": None,
        "ok": False,
        "error": {"code": error.code, "message": error.message, "hint": error.hint or None},
    }


def _error(result: OperationResult | DurableError) -> DurableError | None:
    return result if isinstance(result, Exception) else None


def bulk_summary(total: int, changed: int, unchanged: int, failed: int) -> str:
    """``12 workflows: 9 changed, 1 as it was, 2 failed``."""
    left = total - changed - unchanged - failed
    parts = [
        f"{changed:,} changed",
        f"{unchanged:,} {'as it was' if unchanged == 1 else 'as they were'}" if unchanged else "",
        f"{failed:,} failed" if failed else "",
        f"{left:,} not tried" if left else "",
    ]
    return f"{count(total, 'workflow')}: {', '.join(part for part in parts if part)}."


def selection_table(selected: Sequence[SelectedWorkflow], total: int, now: int, width: int) -> Text:
    """For a terminal: a sample, and how many more there are."""
    statuses = [(one_line(each.status), status_symbol(each.status)) for each in selected]
    rows = table(
        [
            Column("", [Text(*symbol) for _, symbol in statuses]),
            plain("ID", [one_line(each.invocation_id) for each in selected]),
            names("HANDLER", [one_line(each.handler) for each in selected], drop=1),
            Column("STATUS", [Text(status, symbol.style) for status, symbol in statuses], drop=3),
            plain("AGE", [compact(age(each.created_at, now)) for each in selected], drop=2, right=True),
        ],
        width,
    )
    more = total - len(selected)
    return Text.assemble(rows, (f"\n  and {more:,} more", "dim")) if more else rows


def selection_lines(selected: Sequence[SelectedWorkflow]) -> str:
    """For a pipe: all of them."""
    return separated(
        [
            ("ID", [one_line(each.invocation_id) for each in selected]),
            ("HANDLER", [one_line(each.handler) for each in selected]),
            ("STATUS", [one_line(each.status) for each in selected]),
            ("CREATED", [iso(each.created_at) for each in selected]),
        ]
    )
