"""The audit trail: which changes were asked for, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.model.names import validate_name
from durablectl.storage.records import audit
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.model.audit import AuditRecord
    from durablectl.storage.connection.store import Store

_BLOCKS = (1_000, 30_000, None)
"""So many of the newest records are read first, then more where too few of them match."""


async def list_audit(
    store: Store,
    name: str = "",
    *,
    since: int = 0,
    until: int = 0,
    actor: str = "",
    action: str = "",
    limit: int | None = None,
) -> list[AuditRecord]:
    """The newest ``limit`` changes that match, the oldest of them first.

    ``name`` is a workflow or schedule, a deleted one too. ``since`` and ``until`` are in microseconds, 0 for no bound.
    ``actor`` is a part of the actor, its address or its NATS user; ``action`` a word or what is before its dot.
    """
    if name:
        validate_name("invocation id", name)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UsageError(f"The limit {limit} is out of range.", hint="Use 1 or more, or none for all.")
    found: list[AuditRecord] = []
    for newest in _BLOCKS if limit is not None and not (name or since) else (None,):
        found = [
            record
            async for record in audit.read(store, name, since=since, newest=newest)
            if _matches(record, until, actor.casefold(), action)
        ]
        if limit is not None and len(found) >= limit:
            break
    if not found:
        await require_provisioned(store)
    return found if limit is None else found[-limit:]


def _matches(record: AuditRecord, until: int, actor: str, action: str) -> bool:
    if until and record.at >= until:
        return False
    if action and record.action != action and not record.action.startswith(f"{action}."):
        return False
    who = (record.actor.name, record.actor.address, record.nats_user, record.actor.via)
    return not actor or any(actor in text.casefold() for text in who)
