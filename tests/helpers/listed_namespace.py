"""A namespace full of records at known times, for the tests of listing and counting from the command line."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import encode_entry, encode_execution
from durablectl.model.records import Execution, JournalEntry, Payload
from durablectl.settings import Settings
from durablectl.storage.connection.requests import Request
from durablectl.storage.index import index_entries
from helpers.in_process import provisioned_store
from helpers.sample_stack import SampleStack
from helpers.views import S

if TYPE_CHECKING:
    from durablectl.embedded import EmbeddedServer

HOUR = 3600 * S
BULK = 1_150
LONG = 10_000
TOTAL = 1 + 6 + 4 + 1 + 1 + BULK + 1

PATIENT = (
    "from durablectl.cli import main; from durablectl.cli.completion import candidates; "
    "candidates._SECONDS = 60; main.main()"
)
"""A durablectl whose completion waits for the server however long it takes, as it may on a busy machine."""


def filled_namespace(server: EmbeddedServer) -> Settings:
    """With ``f1`` to ``f6`` (failed 10 to 60 hours ago), ``c1`` to ``c4`` (completed 15 to 60 hours ago) and others."""
    settings = Settings(url=server.url, namespace=f"l{secrets.token_hex(3)}", timeout=30)
    asyncio.run(_fill(settings))
    return settings


def stack_of(settings: Settings) -> SampleStack:
    return SampleStack({"NATS_URL": settings.url, "DURABLECTL_NAMESPACE": settings.namespace})


def _record(name: str, handler: str, status: str, hours_ago: int, now: int, **fields: Any) -> Execution:
    """Created 60 hours before it entered its status."""
    at = now - hours_ago * HOUR
    created = at - 60 * HOUR
    return Execution(name, handler, status, created_at=created, updated_at=at, indexed_at=at, attempt=1, **fields)


def _records(now: int) -> list[Execution]:
    failed = [
        _record(f"f{n}", "pay", "failed", 10 * n, now, error=f"card {n} declined" if n % 2 else "The bank is ASLEEP")
        for n in range(1, 7)
    ]
    done = [_record(f"c{n}", "ship", "completed", 15 * n, now, partition_key=f"p{n % 2}") for n in range(1, 5)]
    done[1].parent_id = "parent"
    started = JournalEntry(0, "invoke:ship", "child", awaited_id="c2", started_at=1, finished_at=2)
    parent = _record("parent", "pay", "completed", 200, now, journal=[started], total_steps=1)
    waiting = _record("waiting", "ask", "suspended", 300, now)
    bulk = [_record(f"b{n:04}", "bulk", "completed", 3000 + n, now) for n in range(BULK)]
    running = _record("long", "long", "running", 400, now, owner="p", total_steps=LONG, current_step=LONG)
    fresh = _record("fresh", "fresh", "completed", 0, now)
    return [fresh, *failed, *done, parent, waiting, *bulk, running]


def _encoded(execution: Execution) -> bytes:
    return encode_execution(execution, [encode_entry(entry) for entry in execution.journal])


async def _fill(settings: Settings) -> None:
    async with provisioned_store(settings) as store:
        found = _records(SYSTEM_CLOCK.now())
        steps = [JournalEntry(n, f"s{n}", "step", response=Payload(b"1")) for n in range(LONG)]
        writes = [
            *(Request(store.subjects.state(each.invocation_id), _encoded(each)) for each in found),
            *(request for each in found for request in index_entries.addition(store, each)),
            *(Request(store.subjects.journal("long", step.step_number), encode_entry(step)) for step in steps),
        ]
        for first in range(0, len(writes), 1000):
            await store.requests.exchange(writes[first : first + 1000])
