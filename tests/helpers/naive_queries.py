"""What queries must answer, the long way: every record is read by its key, filtered and sorted here."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl import query
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import decode_execution
from durablectl.model.kinds import WaitingFor
from durablectl.storage.streams import direct_get
from helpers.random_index import HANDLERS, HOUR, MINUTE, SECOND
from helpers.stored_records import list_subjects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from helpers.random_index import Times

ENDED = {"completed", "failed", "cancelled"}
STATUSES = ENDED | {"pending", "running", "suspended", "paused"}
WORDS = ("declined", "CARD 3", "no such text")


@dataclass(frozen=True)
class Record:
    """``entered`` is the time under which the list has it."""

    execution: Execution
    revision: int
    entered: int

    @property
    def key(self) -> tuple[int, str]:
        return self.entered, self.execution.invocation_id

    @property
    def id(self) -> str:
        return self.execution.invocation_id

    @property
    def status(self) -> str:
        """As statistics call it."""
        return self.execution.status if self.execution.status in STATUSES else "other"


async def every_record(store: Store, entered: Mapping[str, int] | None = None) -> list[Record]:
    """``entered`` says it of those records that do not say it themselves."""
    stream, records = store.subjects.state_stream, []
    for subject in await list_subjects(store, stream, store.subjects.all_states):
        raw = await direct_get.get_last(store, stream, subject)
        if raw is not None:
            execution = decode_execution(raw.data, store.subjects.state_key(subject))
            moment = execution.indexed_at or (entered or {})[execution.invocation_id]
            records.append(Record(execution, raw.sequence, moment))
    return records


def matches(record: Record, asked: dict[str, Any]) -> bool:
    execution = record.execution
    changed = execution.updated_at or record.entered
    return (
        (not asked["statuses"] or execution.status in asked["statuses"])
        and (not asked["handlers"] or execution.handler in asked["handlers"])
        and (not asked["partition_key"] or execution.partition_key == asked["partition_key"])
        and asked["since"] <= changed
        and (not asked["until"] or changed < asked["until"])
        and asked["created_since"] <= execution.created_at
        and (not asked["created_until"] or execution.created_at < asked["created_until"])
        and (not asked["error"] or _has_error(execution, asked["error"]))
        and (not asked["parent"] or execution.parent_id == asked["parent"])
        and (not asked["waiting_for"] or not _waits(execution).isdisjoint(asked["waiting_for"]))
    )


def _waits(execution: Execution) -> set[str]:
    now = SYSTEM_CLOCK.now()
    first = execution.waiting_for
    match execution.status:
        case "suspended":
            kinds = {{"sleep": "timer"}.get(each.kind, each.kind) for each in execution.waits}
            return kinds | ({"processor"} if any(0 < each.until <= now for each in execution.waits) else set())
        case "running":
            return {"retry"} if first is not None else set()
        case "pending":
            return {"timer"} if first is not None and first.until > now else {"processor"}
        case _:
            return set()


def _has_error(execution: Execution, text: str) -> bool:
    return execution.status == "failed" and text.lower() in execution.error.lower()


def filters(asked: dict[str, Any]) -> query.Filters:
    return query.Filters.parse(**asked)


def anything() -> dict[str, Any]:
    return {
        "statuses": [],
        "handlers": [],
        "partition_key": "",
        "since": 0,
        "until": 0,
        "created_since": 0,
        "created_until": 0,
        "error": "",
        "parent": "",
        "waiting_for": [],
    }


async def compare(
    store: Store,
    records: list[Record],
    asked: dict[str, Any],
    random: Random,
    *,
    is_exact: bool = True,
    scan: bool = False,
) -> None:
    """Pages, offsets, counts and statistics. Without ``is_exact`` there are entries that no state confirms."""
    oldest_first = random.random() < 0.5
    expected = sorted((record for record in records if matches(record, asked)), key=lambda record: record.key)
    if not oldest_first:
        expected.reverse()
    limit = random.choice((1, 7, 50) if len(expected) < 30 else (40, 150, 1000))
    offset = random.choice((0, 1, 13, len(expected) // 2, len(expected)))
    told = f"{asked}, {limit=}, {offset=}, {oldest_first=}, {scan=}"

    shown: list[query.WorkflowView] = []
    cursor = ""
    while True:
        page = await query.list_workflows(
            store, filters(asked), limit, cursor=cursor, oldest_first=oldest_first, scan=scan
        )
        assert page.total == len(expected) if is_exact else page.total >= len(expected), told
        assert len(page.workflows) == limit or not page.next_cursor, told
        shown += page.workflows
        cursor = page.next_cursor
        if not cursor:
            break
    assert [view.invocation_id for view in shown] == [record.id for record in expected], told
    assert [view.revision for view in shown] == [record.revision for record in expected], told
    assert [view.status for view in shown] == [record.execution.status for record in expected], told
    if not is_exact:
        return

    page = await query.list_workflows(store, filters(asked), limit, offset=offset, oldest_first=oldest_first, scan=scan)
    part = expected[offset : offset + limit]
    assert [view.invocation_id for view in page.workflows] == [record.id for record in part], told
    assert bool(page.next_cursor) == (len(expected) > offset + limit), told
    if not scan:
        assert await query.count_workflows(store, filters(asked)) == len(expected), told
        await compare_stats(store, expected, asked, told)


async def compare_stats(store: Store, expected: list[Record], asked: dict[str, Any], told: str) -> None:
    before = SYSTEM_CLOCK.now()
    stats = await query.get_stats(store, filters(asked))
    after = SYSTEM_CLOCK.now()
    statuses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for record in expected:
        statuses_of[record.execution.handler][record.status] += 1
    assert stats.total == len(expected), told
    assert stats.by_status == Counter(record.status for record in expected), told
    assert stats.by_handler == Counter(record.execution.handler for record in expected), told
    assert stats.statuses_of == statuses_of, told
    active = [record for record in expected if record.status in STATUSES - ENDED]
    oldest = min(active, key=lambda record: record.key).id if active else None
    assert (stats.oldest_active.invocation_id if stats.oldest_active else None) == oldest, told
    if not (asked["since"] or asked["until"]):
        ended = [record.entered for record in expected if record.status == "completed"]
        for rate, span in ((stats.completed_per_minute_last_hour, HOUR), (stats.completed_per_minute, 5 * MINUTE)):
            # The index is counted from the begin of a second.
            bounds = (before // SECOND * SECOND, after)
            most, least = (sum(timestamp_us >= now - span for timestamp_us in ended) for now in bounds)
            assert least / (span / MINUTE) <= rate <= most / (span / MINUTE), told


def random_filters(random: Random, times: Times, ids: Sequence[str] = ()) -> dict[str, Any]:
    """What may be asked; each only now and then."""
    asked = anything()
    if random.random() < 0.5:
        asked["statuses"] = random.sample([*sorted(STATUSES)], random.choice((1, 1, 2, 4, 7)))
    if random.random() < 0.3:
        asked["handlers"] = random.sample([*HANDLERS, "unknown"], random.choice((1, 1, 2)))
    if random.random() < 0.2:
        asked["partition_key"] = random.choice(("p1", "p2", "p3"))
    if random.random() < 0.5:
        asked["since"], asked["until"] = times.bounds()
    if random.random() < 0.15:
        asked["created_since"], asked["created_until"] = times.bounds()
    if random.random() < 0.15:
        asked["error"] = random.choice(WORDS)
    if ids and random.random() < 0.15:
        asked["parent"] = random.choice(ids)
    if random.random() < 0.4:
        asked["waiting_for"] = random.sample([*WaitingFor], random.choice((1, 1, 1, 2, 6)))
    return asked
