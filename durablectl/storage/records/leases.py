"""Processor leases: which processors are alive, and what they can run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl.model.names import is_name
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import get_last, get_many_last
from durablectl.storage.streams.provision import LEASE_SECONDS, stream_info

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

RENEW_SECONDS = LEASE_SECONDS / 3


@dataclass(frozen=True)
class Lease:
    """What a live processor says of itself. ``slots`` and ``busy`` count workflows; times are in microseconds.

    ``held`` digests the ids of what it runs (held_workflows). ``blocked_since`` is 0 unless the processor's event loop
    is blocked; then ``blocked_by`` names the code.
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
    system_handlers: list[str] = field(default_factory=list)
    """Those of durablectl's own."""
    held: str = ""

    @property
    def all_handlers(self) -> list[str]:
        return [*self.handlers, *self.system_handlers]


_NO_LEASE = Lease("")


async def renew(store: Store, lease: Lease) -> None:
    """Alive for LEASE_SECONDS from now."""
    await store.requests.publish(store.subjects.processor(lease.processor_id), json.dumps(asdict(lease)).encode())


async def release(store: Store, processor_id: str) -> None:
    stream, subject = store.subjects.processors_stream, store.subjects.processor(processor_id)
    await store.requests.exchange([purge_request(store, stream, subject)])


async def is_alive(store: Store, processor_id: str) -> bool:
    if not is_name(processor_id):
        return False
    subject = store.subjects.processor(processor_id)
    return await get_last(store, store.subjects.processors_stream, subject) is not None


async def live_processors(store: Store) -> list[Lease]:
    """Every live processor, the longest-running first."""
    stream = store.subjects.processors_stream
    if await stream_info(store, stream) is None:
        return []
    answer = await get_many_last(store, stream, store.subjects.processors_subjects)
    found = answer.messages if answer is not None else []
    leases = [parse(raw.data, store.subjects.processor_of(raw.subject)) for raw in found]
    return sorted((lease for lease in leases if lease), key=lambda lease: (lease.started_at, lease.processor_id))


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
