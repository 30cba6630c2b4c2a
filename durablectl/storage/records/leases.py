"""Processor leases: which processors are alive, and what they can run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from durablectl.model.clock import MICROSECONDS
from durablectl.model.names import is_name
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import get_last, get_many_last
from durablectl.storage.streams.provision import LEASE_SECONDS, stream_info
from durablectl.storage.streams.stored_messages import parse_timestamp_us

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

RENEW_SECONDS = LEASE_SECONDS / 3
EXPIRED_MICROSECONDS = 3 * LEASE_SECONDS * MICROSECONDS
"""A lease of this age has expired, even where the server has not removed it."""


@dataclass(frozen=True)
class Lease:
    """What a live processor says of itself. ``slots`` and ``busy`` count workflows; times are in microseconds.

    ``held`` digests the ids of what it runs (held_workflows). ``blocked_since`` is 0 unless the processor's event loop
    is blocked; then ``blocked_by`` names the code.
    ``machine_time`` is what the clock of its machine said at the renewal, 0 where an older version does not say it.
    ``renewed_at`` is when the server stored the lease; it is not part of what is stored.
    """

    processor_id: str
    handlers: list[str] = field(default_factory=list)
    version: str = ""
    host: str = ""
    process_id: int = 0
    slots: int = 0
    busy: int = 0
    started_at: int = 0
    blocked_since: int = 0
    blocked_by: str = ""
    machine_time: int = 0
    renewed_at: int = 0
    system_handlers: list[str] = field(default_factory=list)
    """Those of durablectl's own."""
    held: str = ""
    app_version: str = ""

    @property
    def all_handlers(self) -> list[str]:
        return [*self.handlers, *self.system_handlers]

    @property
    def clock_error(self) -> int:
        """By how many microseconds the clock of its machine is ahead of the server's; negative where it is behind."""
        return self.machine_time - self.renewed_at if self.machine_time and self.renewed_at else 0


_NO_LEASE = Lease("")


async def renew(store: Store, lease: Lease) -> None:
    """Alive for LEASE_SECONDS from now."""
    said = asdict(lease)
    del said["renewed_at"]
    await store.requests.publish(store.subjects.processor(lease.processor_id), json.dumps(said).encode())


async def release(store: Store, processor_id: str) -> None:
    stream, subject = store.subjects.processors_stream, store.subjects.processor(processor_id)
    await store.requests.exchange([purge_request(store, stream, subject)])


async def is_alive(store: Store, processor_id: str) -> bool:
    return await load(store, processor_id) is not None


async def load(store: Store, processor_id: str) -> Lease | None:
    """The lease of a processor; None of one that is gone. What cannot be read is a lease that says nothing more."""
    if not is_name(processor_id):
        return None
    raw = await get_last(store, store.subjects.processors_stream, store.subjects.processor(processor_id))
    return None if raw is None else parse(raw.data, processor_id) or Lease(processor_id)


async def live_processors(store: Store) -> list[Lease]:
    """Every live processor, the longest-running first."""
    stream = store.subjects.processors_stream
    info = await stream_info(store, stream)
    if info is None:
        return []
    # A stream that has stopped after an error of the disk does not expire them.
    oldest = parse_timestamp_us(info["ts"]) - EXPIRED_MICROSECONDS
    answer = await get_many_last(store, stream, store.subjects.processors_subjects)
    found = answer.messages if answer is not None else []
    leases = [
        replace(lease, renewed_at=parse_timestamp_us(raw.stored_at))
        for raw in found
        if (lease := parse(raw.data, store.subjects.processor_of(raw.subject)))
    ]
    leases = [lease for lease in leases if lease.renewed_at > oldest]
    return sorted(leases, key=lambda lease: (lease.started_at, lease.processor_id))


def parse(data: bytes, processor_id: str) -> Lease | None:
    """None for what is no lease. What a newer version says beyond ours is left out: it is alive all the same."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    known: dict[str, Any] = {
        name: said[name] for name, ours in asdict(_NO_LEASE).items() if type(said.get(name)) is type(ours)
    }
    if known.get("processor_id") != processor_id or not is_name(processor_id):
        return None
    for each in ("handlers", "system_handlers"):
        known[each] = [name for name in known.get(each, ()) if isinstance(name, str)]
    return Lease(**known)
