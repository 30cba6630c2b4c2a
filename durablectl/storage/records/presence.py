"""Which processors there were in the last hour: a record of each beside its lease, which lasts for 3 s only.

A processor writes its record when it starts and once a minute, and removes it when it stops. One that is left without a
lease died, or is silent. The processors that take over say when, and what it held.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from durablectl.model.names import is_name
from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED, TTL
from durablectl.storage.connection.store import purge_request
from durablectl.storage.records import leases
from durablectl.storage.streams.direct_get import get_last, get_many_last
from durablectl.storage.streams.stored_messages import parse_timestamp_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import StoredMessage

REFRESH_SECONDS = 60
KEPT_SECONDS = 3600
_MOST_HELD = 20
_TRIES = 10


@dataclass(frozen=True)
class Presence:
    """A processor as it was when the record was written; times in microseconds, 0 where there is none.

    ``seen_at`` is when it wrote the record last, ``lost_at`` when its lease was renewed last before it ran out.
    ``held`` counts the workflows that it ran then, ``held_ids`` names some. ``returned_at`` is set where it was only
    silent.
    """

    lease: leases.Lease
    seen_at: int = 0
    lost_at: int = 0
    held: int = 0
    held_ids: Sequence[str] = field(default_factory=tuple)
    returned_at: int = 0


async def refresh(store: Store, lease: leases.Lease) -> None:
    """Say that the processor is there; what others have written about its silence stays."""
    now = store.clock.now()
    for _ in range(_TRIES):
        known, sequence = await _load(store, lease.processor_id)
        presence = Presence(lease, now)
        if known is not None and known.lost_at:
            presence = replace(known, lease=lease, seen_at=now, returned_at=known.returned_at or now)
        if await _write(store, presence, sequence):
            return


async def remove(store: Store, processor_id: str) -> None:
    """Forget a processor that stops by itself."""
    subjects = store.subjects
    await store.requests.exchange([purge_request(store, subjects.state_stream, subjects.presence(processor_id))])


async def mark_lost(store: Store, processor_id: str, lost_at: int, held_ids: Sequence[str]) -> None:
    """Record that a processor died or went silent; ``lost_at`` 0 where nothing saw when.

    Every survivor may do so: the one that saw most of what it held counts. One that has no record, and held nothing,
    has stopped by itself.
    """
    if not is_name(processor_id):
        return
    for _ in range(_TRIES):
        known, sequence = await _load(store, processor_id)
        if known is None and not held_ids:
            return
        known = known or Presence(leases.Lease(processor_id))
        if known.lost_at and (known.held >= len(held_ids) or known.returned_at):
            return
        lost = replace(
            known,
            lost_at=known.lost_at or lost_at or known.seen_at or store.clock.now(),
            held=max(known.held, len(held_ids)),
            held_ids=tuple(held_ids[:_MOST_HELD]),
        )
        if await _write(store, lost, sequence):
            return


async def recent(store: Store) -> list[Presence]:
    """Of every processor of the last hour, the stopped ones left out; those seen last come first."""
    answer = await get_many_last(store, store.subjects.state_stream, [store.subjects.presence("*")])
    found = [_parsed(store, raw) for raw in (answer.messages if answer is not None else ())]
    return sorted((each for each in found if each), key=lambda each: (-each.seen_at, each.lease.processor_id))


async def _load(store: Store, processor_id: str) -> tuple[Presence | None, int]:
    raw = await get_last(store, store.subjects.state_stream, store.subjects.presence(processor_id))
    return (None, 0) if raw is None else (_parsed(store, raw), raw.sequence)


async def _write(store: Store, presence: Presence, sequence: int) -> bool:
    """False where the record has changed since."""
    headers = {EXPECTED: str(sequence), TTL: f"{KEPT_SECONDS + REFRESH_SECONDS}s"}
    data = json.dumps(asdict(presence)).encode()
    try:
        await store.requests.publish(store.subjects.presence(presence.lease.processor_id), data, headers)
    except WrongSequenceError:
        return False
    return True


def _parsed(store: Store, raw: StoredMessage) -> Presence | None:
    """None for what is no such record. What a newer version says beyond ours is left out."""
    processor_id = store.subjects.processor_of(raw.subject)
    try:
        said = json.loads(raw.data)
        lease = leases.parse(json.dumps(said["lease"]).encode(), processor_id)
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    if lease is None:
        return None
    numbers: dict[str, Any] = {
        name: said[name] for name in ("lost_at", "held", "returned_at") if type(said.get(name)) is int
    }
    ids = said.get("held_ids")
    held_ids = tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list) else ()
    seen_at = said.get("seen_at")
    # Of a record that another processor wrote about a stranger, only the time of that is known.
    seen = seen_at if type(seen_at) is int and seen_at else parse_timestamp_us(raw.stored_at)
    return Presence(lease, seen, held_ids=held_ids, **numbers)
