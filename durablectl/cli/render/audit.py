"""The audit trail: who changed what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import RELATIVE, TimeFormat, format_time, one_line
from durablectl.cli.render.symbols import FAILED
from durablectl.cli.render.table import Column, plain, separated, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.audit import AuditRecord


def audit_table(records: Sequence[AuditRecord], now: int, width: int, times: TimeFormat = RELATIVE) -> Text:
    """For a terminal; ``now`` in microseconds."""
    styles = [FAILED.style if record.refused else "" for record in records]
    return table(
        [
            plain("TIME", [format_time(times, record.at, now) for record in records]),
            plain("ACTOR", [one_line(record.actor.name) for record in records], least=8),
            plain("VIA", [one_line(record.actor.via) for record in records], drop=2),
            Column("ACTION", [Text(_action(r), style) for r, style in zip(records, styles, strict=True)]),
            plain("OF", [one_line(_of(record)) for record in records], least=12),
            plain("HANDLER", [one_line(record.handler) for record in records], drop=3, least=8),
            plain("DETAIL", [one_line(_detail(record)) for record in records], drop=4, least=25),
        ],
        width,
    )


def audit_lines(records: Sequence[AuditRecord], now: int, times: TimeFormat) -> str:
    """For a pipe: tab-separated, nothing shortened."""
    return separated(
        [
            ("TIME", [format_time(times, record.at, now) for record in records]),
            ("ACTOR", [one_line(record.actor.name) for record in records]),
            ("VIA", [one_line(record.actor.via) for record in records]),
            ("ADDRESS", [one_line(record.actor.address) for record in records]),
            ("NATS_USER", [one_line(record.nats_user) for record in records]),
            ("ACTION", [one_line(record.action) for record in records]),
            ("OF", [one_line(_of(record)) for record in records]),
            ("HANDLER", [one_line(record.handler) for record in records]),
            ("REFUSED", [one_line(record.refused) for record in records]),
            ("DETAIL", [one_line(_detail(record)) for record in records]),
        ]
    )


def _action(record: AuditRecord) -> str:
    action = one_line(record.action)
    return f"{action}, refused: {one_line(record.refused)}" if record.refused else action


def _of(record: AuditRecord) -> str:
    return record.invocation_id or record.target


def _detail(record: AuditRecord) -> str:
    parts = [record.reason] if record.reason else []
    parts += [f"{name.replace('_', ' ')} {value}" for name, value in record.details.items()]
    return ", ".join(map(str, parts))
