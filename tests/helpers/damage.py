"""Records and messages as a cut, a foreign hand, or a version to come leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl._proto import durable_pb2 as pb
from durablectl.model.codec import encode_command, encode_execution
from durablectl.model.records import Command, Execution, JournalEntry, Payload, PendingWait, SupersededEntry
from durablectl.storage.connection.requests import Request
from durablectl.storage.index import index_entries

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

HANDLER = "mended"
MINUTE = 60_000_000
NOW = 1_790_000_000_000_000
SPLIT_NAME = "a b\r\nPUB commands.x 2\r\nhi"


def sound(invocation_id: str, **fields: Any) -> Execution:
    times = {"created_at": NOW, "updated_at": NOW, "indexed_at": NOW}
    return Execution(invocation_id, HANDLER, **{"status": "running", "owner": "gone", "attempt": 1, **times, **fields})


def full(invocation_id: str) -> bytes:
    """With something in every part of a record."""
    entry = JournalEntry(0, "make", "step", Payload(b'["x"]'), Payload(b'"y"'), started_at=NOW, finished_at=NOW)
    execution = sound(
        invocation_id,
        journal=[entry],
        input=Payload(b'{"n":7}'),
        workflow_state={"cart": Payload(b"[1]")},
        waiting_for=PendingWait("sleep", "sleep", 1, NOW + MINUTE),
        waits=[PendingWait("sleep", "sleep", 1, NOW + MINUTE)],
        superseded_entries=[SupersededEntry("pending", NOW)],
        reason="an operator's word",
    )
    return encode_execution(execution, [pb.JournalEntry(step_number=0, step_type="make").SerializeToString()])


def _states() -> dict[str, bytes]:
    """By id: what nothing can be done with."""
    told: dict[str, dict[str, Any]] = {
        "unknown-status": {"status": "archived"},
        "no-status": {"status": ""},
        "bad-partition": {"partition_key": SPLIT_NAME},
        "bad-rest": {"partition_key": SPLIT_NAME, "status": "suspended", "owner": ""},
        "bad-owner": {"owner": "*.>"},
        "bad-parent": {"parent_id": "p", "parent_handler": SPLIT_NAME},
        "late-time": {"created_at": 2**62, "updated_at": 2**62, "indexed_at": 2**62},
        "early-time": {"indexed_at": -(2**62), "updated_at": -1},
        "late-timer": {"status": "suspended", "owner": "", "waits": [PendingWait("sleep", "s", 0, 2**62)]},
        "late-start": {"status": "pending", "owner": "", "start_at": 2**62},
        "full-counter": {"attempt": 2**31 - 1},
        "bad-past": {"superseded_entries": [SupersededEntry('x","filter":"durable.>', NOW)]},
    }
    return {name: encode_execution(sound(name, **fields)) for name, fields in told.items()}


UNUSABLE = _states()
UNREADABLE = {
    "torn": full("torn")[:-7],
    "junk": b"\xff\xff not a record",
    "of-another": encode_execution(sound("sound-1")),
}
DAMAGED = {**UNREADABLE, **UNUSABLE}


async def put_damaged(store: Store) -> None:
    """Each under its id, entered as pending and as running; beside them two that are sound, ``sound-1`` ended."""
    subjects = store.subjects
    writes = [Request(subjects.state(name), data) for name, data in DAMAGED.items()]
    for name in DAMAGED:
        writes += [Request(subjects.index(group, NOW, HANDLER, "", name)) for group in ("pending", "running")]
    for execution in (sound("sound-1", status="completed", owner=""), sound("sound-2", status="paused", owner="")):
        writes += [Request(subjects.state(execution.invocation_id), encode_execution(execution))]
        writes += index_entries.addition(store, execution)
    await store.requests.exchange(writes)


def wake_command(name: str) -> bytes:
    return encode_command(Command(name, HANDLER, kind="wake"))
