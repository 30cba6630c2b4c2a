"""`durablectl doctor`: each kind of damage to the index is counted and mended, and nothing else is touched."""

from __future__ import annotations

from durablectl import control, query
from durablectl._proto import durable_pb2 as pb
from durablectl.model.status import OTHER, Status
from durablectl.query import Filters, Severity
from durablectl.query.full_scan import scan
from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.doctor import (
    FOREIGN,
    MINUTE,
    NOW,
    add,
    agrees_with_a_scan,
    check,
    delete_state,
    disagreements,
    entries,
    entry,
    put,
    put_foreign,
    record,
    remove,
)


async def test_missing_entries_are_counted_and_added(store):
    records = [record(n) for n in range(5)]
    await put(store, *records)
    await remove(store, *(entry(store, each) for each in records[:3]))
    assert await disagreements(store) == {"missing": 3}
    repaired = await control.repair(store)
    assert (repaired.entered, repaired.foreign, repaired.removed) == (3, 0, 0)
    assert await entries(store) == sorted(entry(store, each) for each in records)
    assert await disagreements(store) == {}
    await agrees_with_a_scan(store)


async def test_entries_without_state_are_counted_and_removed(store):
    records = [record(n) for n in range(5)]
    await put(store, *records)
    for each in records[:2]:
        await delete_state(store, each.invocation_id)
    stored = await states.load(store, "w2")
    assert await states.delete(store, stored.execution, stored.revision)
    assert await disagreements(store) == {"gone": 3}
    assert (await control.repair(store)).kept == 3  # more than half have no record: it looks lost
    assert (await control.repair(store, forget_lost=True)).removed == 3
    assert await entries(store) == sorted(entry(store, each) for each in records[3:])
    await agrees_with_a_scan(store)


async def test_entry_with_wrong_status_or_time_is_replaced(store):
    records = [record(0), record(1, Status.FAILED), record(2, Status.PAUSED)]
    await put(store, *records)
    await remove(store, *(entry(store, each) for each in records[:2]))
    await add(store, store.subjects.index("running", NOW, "pay", "", "w0"))
    await add(store, store.subjects.index("failed", NOW, "pay", "", "w1"))
    assert await disagreements(store) == {"outdated": 2, "missing": 2}
    repaired = await control.repair(store)
    assert (repaired.entered, repaired.removed) == (2, 2)
    assert await entries(store) == sorted(entry(store, each) for each in records)


async def test_duplicate_entries_are_removed(store):
    records = [record(0), record(1, partition_key="p1")]
    await put(store, *records)
    subjects = store.subjects
    await add(
        store,
        subjects.index("running", NOW, "pay", "", "w0"),
        subjects.index("completed", NOW - 1, "pay", "", "w0"),
        subjects.index("completed", NOW, "other", "", "w0"),
        subjects.index("completed", NOW + MINUTE, "pay", "p2", "w1"),
    )
    assert await disagreements(store) == {"doubled": 4}
    assert (await control.repair(store)).removed == 4
    assert await entries(store) == sorted(entry(store, each) for each in records)
    await agrees_with_a_scan(store)


async def test_invalid_index_subjects_alone_are_removed(store):
    """A server stores such a subject as it is; purged as a filter, it would take the whole index along."""
    await put(store, *(record(n) for n in range(3)))
    before = await entries(store)
    prefix = store.subjects.index_stream_subjects[0].removesuffix(">")
    wrong = [
        f"{prefix}*",
        f"{prefix}>",
        f"{prefix}*.*.*.*.*.*.*.*",
        f'{prefix}a"b',
        f"{prefix}completed.20261122.10.00.00.pay.~.nothing",
        f"{prefix}completed.20261122.10.00.00.pay.~.000001~",
        f"{prefix}completed.20261122.10.00.00.pay.~.1~w1",
        f"{prefix}completed.29991399.10.00.00.pay.~.000001~w1",
    ]
    await add(store, *wrong)
    assert await disagreements(store) == {"malformed": len(wrong)}
    assert (await control.repair(store)).removed == len(wrong)
    assert await entries(store) == before


async def test_foreign_records_are_indexed_by_creation_or_message_time(store):
    await put(store, *(record(n) for n in range(3)))
    await put_foreign(store, *FOREIGN)
    assert await disagreements(store) == {"foreign": 4}
    assert (await check(store, "handler_names")).count == 2
    repaired = await control.repair(store)
    assert (repaired.entered, repaired.foreign, repaired.removed, repaired.handlers) == (4, 4, 0, 2)
    moments = {}
    for subject in await entries(store):
        parsed = store.subjects.index_entry(subject)
        moments[parsed.invocation_id] = (parsed.group, parsed.timestamp_us)
    scanned = {each.execution.invocation_id: each.timestamp_us async for each in scan(store)}
    assert moments["f-1"][0] == "completed"
    assert moments["f-3"][0] == OTHER
    assert moments["f-4"] == ("failed", NOW)
    assert abs(moments["f-2"][1] - scanned["f-2"]) <= 1
    assert (await query.diagnose(store)).is_healthy is False  # w0 to w2 are fine, f-2 waits for a processor
    assert await disagreements(store) == {}
    await agrees_with_a_scan(store)
    again = await control.repair(store)
    assert again.changes == 0


async def test_rewritten_foreign_record_keeps_entry_until_status_changes(store):
    await put_foreign(store, FOREIGN[1])
    await control.repair(store)
    before = await entries(store)
    changed = pb.ExecutionState(invocation_id="f-2", handler="greet", status="running", current_step=2)
    await put_foreign(store, changed)
    assert await disagreements(store) == {}
    assert (await control.repair(store)).changes == 0
    await put_foreign(store, pb.ExecutionState(invocation_id="f-2", handler="greet", status="completed"))
    assert await disagreements(store) == {"outdated": 1, "foreign": 1}
    await control.repair(store)
    [after] = await entries(store)
    assert [after] != before
    assert store.subjects.index_entry(after).group == "completed"
    await agrees_with_a_scan(store)


async def test_unreadable_records_are_reported_and_left_alone(store):
    await put(store, record(1), record(2))
    await store.requests.publish(store.subjects.state("broken"), b"\xff\xffnot protobuf")
    await store.requests.publish(store.subjects.state("w2"), b"\xff\xffnot protobuf")
    await put_foreign(
        store,
        pb.ExecutionState(invocation_id="f-1", handler="my handler", status="running"),
        pb.ExecutionState(invocation_id="f-2", handler="", status="running"),
        pb.ExecutionState(invocation_id="a.b", handler="x", status="running"),
        pb.ExecutionState(invocation_id="f-3", handler="x", status="failed", created_at=2**62),
    )
    found = await check(store, "records")
    assert (found.severity, found.count) == (Severity.WARNING, 6)
    assert dict(found.details) == {"unreadable": 2, "unnamed": 4}
    assert await disagreements(store) == {"gone": 1}
    await control.repair(store)
    assert await disagreements(store) == {}
    assert await entries(store) == [entry(store, record(1))]
    assert (await query.list_workflows(store, Filters.parse(["completed"]))).total == 1


async def test_unknown_handler_names_are_reported_and_stored(store):
    await put(store, record(1), record(2, handler="ship"))
    await store.requests.exchange([purge_request(store, store.subjects.state_stream, store.subjects.handler("ship"))])
    store.known_handlers.clear()
    found = await check(store, "handler_names")
    assert (found.severity, found.details["handlers"]) == (Severity.WARNING, ["ship"])
    assert (await control.repair(store)).handlers == 1
    assert await index_entries.list_handlers(store) == ["pay", "ship"]
    assert (await check(store, "handler_names")).severity == Severity.OK
    await agrees_with_a_scan(store)


async def test_dry_run_reports_and_changes_nothing(store):
    await put(store, *(record(n) for n in range(3)))
    await put_foreign(store, FOREIGN[0])
    await remove(store, entry(store, record(0)))
    await add(store, store.subjects.index("running", NOW, "pay", "", "w1"))
    before = await entries(store)
    told = await control.repair(store, dry_run=True)
    numbers = {
        "entered": 2,
        "foreign": 1,
        "removed": 1,
        "handlers": 1,
        "called": 0,
        "armed": 0,
        "kept": 0,
        "waits_named": 0,
    }
    assert told.to_json() == {"dry_run": True, **numbers}
    assert await entries(store) == before
    assert await index_entries.list_handlers(store) == ["pay"]
    done = await control.repair(store)
    assert done.to_json() == {**told.to_json(), "dry_run": False}
