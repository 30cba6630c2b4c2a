"""The columns that a list of workflows can have: the option ``--columns``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.cli.terminal.output import OutputFormat
from durablectl.errors import UsageError
from durablectl.model.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS: Mapping[str, str] = {
    # the title in lower case: the field of the JSON, where it has another name
    "id": "invocation_id",
    "handler": "",
    "status": "",
    "progress": "",
    "step": "current_step",
    "step_type": "current_step_type",
    "steps": "total_steps",
    "created": "created_at",
    "started": "started_at",
    "updated": "updated_at",
    "finished": "finished_at",
    "expires": "expires_at",
    "time": "",
    "partition_key": "",
    "attempt": "",
    "owner": "",
    "parent": "parent_id",
    "schedule": "",
    "revision": "",
    "input": "",
    "output": "",
    "error": "",
    "reason": "",
    "detail": "waiting_for",
}
_OTHER_NAMES = {field: name for name, field in COLUMNS.items() if field} | {"age": "created"}


def read_columns(text: str | None, output: OutputFormat) -> Sequence[str]:
    """The names of ``a,b,c`` as in COLUMNS; none where none were given. UsageError lists them all."""
    if text is None:
        return ()
    if output not in (OutputFormat.TABLE, OutputFormat.WIDE):
        raise UsageError(
            f"--columns is about the table, but -o {output} was asked for.",
            hint="JSON holds every field: choose there with jq.",
        )
    return [*dict.fromkeys(_column(word.strip()) for word in text.split(","))]


def _column(word: str) -> str:
    name = _OTHER_NAMES.get(word.lower(), word.lower())
    if name not in COLUMNS:
        guess = did_you_mean(name, [*COLUMNS, *_OTHER_NAMES])
        raise UsageError(f"There is no column {word!r}.", hint=f"{guess}The columns are {', '.join(COLUMNS)}.")
    return name


def complete_columns(incomplete: str) -> list[str]:
    """Of the name behind the last comma."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in COLUMNS if name.startswith(last) and name not in taken]
