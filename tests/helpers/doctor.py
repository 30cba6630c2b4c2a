"""What the tests of `durablectl doctor` share: records as the engine leaves them, and damage by hand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from durablectl import query
from durablectl._proto import durable_pb2 as pb
from durablectl.model.codec import encode_execution
from durablectl.model.records import Execution
from durablectl.model.status import OTHER, Status
from durablectl.query import Filters
from durablectl.query.full_scan import scan
from durablectl.storage.connection.requests import Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from helpers.stored_records import list_subjects

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

MINUTE = 60_000_000
NOW = 1_795_000_000_000_000
FOREIGN = [
    pb.ExecutionState(invocation_id="f-1", handler="greet", status="completed", current_state=b'"hi"'),
    pb.ExecutionState(invocation_id="f-2", handler="greet", status="running", current_step=1),
    pb.ExecutionState(invocation_id="f-3", handler="greet", status="EXPLODED"),
    pb.ExecutionState(invocation_id="f-4", handler="old", status="failed", created_at=NOW),
]


def record(number: int, status: str = Status.COMPLETED, handler: str = "pay", **fields: Any) -> Execution:
    at = NOW + number * MINUTE
    return Execution(f"w{number}", handler, status, created_at=at, updated_at=at, indexed_at=at, attempt=1, **fields)


async def put(store: Store, *records: Execution, entered: bool = True) -> None:
    """As the engine leaves them, or without an index entry."""
    writes = [Request(store.subjects.state(each.invocation_id), encode_execution(each)) for each in records]
    entries = [write for each in records for write in index_entries.addition(store, each)] if entered else []
    for some in (writes, entries):
        for first in range(0, len(some), 1000):
            await store.requests.exchange(some[first : first + 1000])


async def put_foreign(store: Store, *records: pb.ExecutionState) -> None:
    await store.requests.exchange(
        [Request(store.subjects.state(each.invocation_id), each.SerializeToString()) for each in records]
    )


async def add(store: Store, *subjects: str) -> None:
    await store.requests.exchange([Request(subject) for subject in subjects])


async def remove(store: Store, *subjects: str) -> None:
    await store.requests.exchange([purge_request(store, store.subjects.index_stream, each) for each in subjects])


async def delete_state(store: Store, invocation_id: str) -> None:
    await store.requests.exchange(
        [purge_request(store, store.subjects.state_stream, store.subjects.state(invocation_id))]
    )


def entry(store: Store, execution: Execution) -> str:
    return index_entries.index_subject(store.subjects, execution)


async def entries(store: Store) -> list[str]:
    return await list_subjects(store, store.subjects.index_stream, ">")


async def check(store: Store, name: str) -> query.Check:
    diagnosis = await query.diagnose(store)
    return next(check for check in diagnosis.checks if check.name == name)


async def disagreements(store: Store) -> dict[str, int]:
    details = dict((await check(store, "index")).details)
    return {kind: number for kind, number in details.items() if number and kind != "entries"}


async def agrees_with_a_scan(store: Store) -> None:
    """List and stats by the index are what reading every record gives."""
    naive = [scanned.execution async for scanned in scan(store)]
    for status in (*Status, ""):
        filters = Filters.parse([status] if status else [])
        page = await query.list_workflows(store, filters, 1000)
        expected = {each.invocation_id for each in naive if not status or each.status == status}
        assert page.total == len(expected)
        if len(expected) <= 1000:
            assert {view.invocation_id for view in page.workflows} == expected
            assert len(page.workflows) == len(expected)
    stats = await query.get_stats(store)
    groups = Counter(each.status if each.status in frozenset(Status) else OTHER for each in naive)
    assert stats.by_status == dict(groups)
    assert stats.by_handler == dict(Counter(each.handler for each in naive))
