"""The index by time: days, hours, minutes and seconds are tokens of its subjects, so the server counts each.

Nothing is made on the server: counts and entries come by direct get.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.names import is_system_handler
from durablectl.model.status import OTHER, Status
from durablectl.storage.streams.direct_get import count as count_subjects
from durablectl.storage.streams.direct_get import (
    count_large,
    count_many,
    first_message,
    first_subjects,
    last_message,
    subjects_matching,
)
from durablectl.storage.streams.provision import stream_info
from durablectl.storage.streams.stored_messages import parse_timestamp_us
from durablectl.storage.subjects import waiting_handler

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import StoredMessage
    from durablectl.storage.subjects import IndexEntry

DAY = 86_400
SIZES = (DAY, 3600, 60, 1)
"""Seconds of a bucket of each level."""
SECOND = 3
"""The lowest level."""
ANY_TIME = "*.*.*.*"
_FORMATS = ("%Y%m%d.*.*.*", "%Y%m%d.%H.*.*", "%Y%m%d.%H.%M.*", "%Y%m%d.%H.%M.%S")
READ_AT_ONCE = 300
"""Entries that are read rather than counted by the second."""
OLDEST = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp())
"""No entry is older (seconds), but for those of records without a time, which lie on the first day of 1970."""
_DAYS_AT_ONCE = 400
_DAYS_AHEAD = 2
"""How far clocks of other machines may be ahead of ours."""
GROUPS = frozenset({*Status, OTHER})
"""Every status that entries can have."""


class SortKey(NamedTuple):
    """Where an entry stands in the order of the list."""

    timestamp_us: int
    invocation_id: str


@dataclass(frozen=True)
class Scope:
    """Entries by status, handler and partition key; empty means all. ``handlers`` and ``groups`` are alternatives.

    Without ``groups``, ``excluded`` is one that does not belong. ``kinds`` leave out what is suspended and names none
    of them among its waits. ``waits`` are those that entries of each handler name (load_waits); a scope with
    ``handlers`` or ``kinds`` needs them.
    """

    groups: Sequence[str] = ()
    handlers: Sequence[str] = ()
    partition_key: str = ""
    excluded: str = ""
    kinds: Collection[str] = ()
    waits: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def filters(self, store: Store, time: str = ANY_TIME) -> list[str]:
        """The subjects to ask for, each entry in one of them; ``exceptions`` are among them."""
        return self._filters(store, time, self.groups or ("*",))

    def exceptions(self, store: Store, time: str = ANY_TIME) -> list[str]:
        return self._filters(store, time, [self.excluded] if self.excluded else [])

    def _filters(self, store: Store, time: str, groups: Sequence[str]) -> list[str]:
        return [
            store.subjects.index_filter(group, time, token, self.partition_key or "*")
            for group in groups
            for token in self._handler_tokens(group)
        ]

    def _handler_tokens(self, group: str) -> Sequence[str]:
        """Those of suspended workflows name their waits, but for entries of earlier versions."""
        kinds = self.kinds if group == Status.SUSPENDED else ()
        if not (self.handlers or kinds):
            return ("*",)
        if group not in {"*", Status.SUSPENDED}:
            return self.handlers
        waiting = [
            waiting_handler(handler, waits)
            for handler in self.handlers or self.waits
            for waits in self.waits.get(handler, ())
            if not kinds or not set(kinds).isdisjoint(waits.split("+"))
        ]
        return waiting if kinds else [*self.handlers, *waiting]

    def names(self, execution: Execution) -> bool:
        """Whether the scope has the entry of a workflow; one whose handler and partition key belong."""
        group = execution.index_group
        if group not in self.groups:
            return False
        kinds = self.kinds if group == Status.SUSPENDED else ()
        return not kinds or not set(kinds).isdisjoint(execution.index_waits.split("+"))

    @property
    def is_of_all(self) -> bool:
        """Whether it tells statuses apart, and nothing else."""
        return not (self.handlers or self.partition_key or self.kinds)


class Range(NamedTuple):
    """Seconds since the epoch, from ``start`` up to but not including ``stop``."""

    start: int
    stop: int


async def count_all(store: Store, scope: Scope) -> int:
    """Most workflows have completed: where they are asked for, the others are counted, and taken from all."""
    left_out = GROUPS - set(scope.groups) if scope.groups else {scope.excluded} - {""}
    if Status.COMPLETED in left_out or not scope.is_of_all:
        return (await count(store, scope, [ANY_TIME], much=Status.COMPLETED not in left_out))[0]
    info = await stream_info(store, store.subjects.index_stream)
    everything = int(info["state"]["messages"]) if info is not None else 0
    if everything:
        everything -= await count_subjects(store, store.subjects.index_stream, store.subjects.system_index_filter())
    return everything - (await count(store, Scope(sorted(left_out)), [ANY_TIME]))[0] if left_out else everything


async def count_many_scopes(store: Store, scopes: Sequence[Scope]) -> list[int]:
    """The same for several scopes, asked together."""
    return list(await asyncio.gather(*(count_all(store, scope) for scope in scopes)))


async def count_between(store: Store, scope: Scope, since: int, until: int) -> int:
    """Entries whose time is at ``since`` or later and before ``until`` (microseconds; 0 for no bound)."""
    if not since:
        return await count_all(store, scope) - (await count_between(store, scope, until, 0) if until else 0)
    end = horizon() * MICROSECONDS
    last = min(until or end, end)
    if last - since < _DAYS_AT_ONCE * DAY * MICROSECONDS:
        return await count_within(store, scope, since, last)
    everything = await count_all(store, scope)
    if everything <= READ_AT_ONCE:
        entries = await read(store, scope, ANY_TIME) if everything else []
        return sum(since <= entry.timestamp_us < last for entry in entries)
    # Rarely there are entries older than the one that was stored first.
    first = max(await first_day(store) * MICROSECONDS, since)
    number = await count_within(store, scope, first, last)
    if number + await count_within(store, scope, max(first, last), end) == everything:
        return number
    oldest = OLDEST * MICROSECONDS
    number += await count_within(store, scope, max(since, oldest), min(first, last))
    return number + await count_within(store, scope, since, min(first, last, DAY * MICROSECONDS))


async def count_within(store: Store, scope: Scope, since: int, last: int) -> int:
    """Those from ``since`` up to before ``last``: begun seconds are read, and what lies in between is counted."""
    if last <= since:
        return 0
    start, stop = -(-since // MICROSECONDS), last // MICROSECONDS
    number = sum(await count(store, scope, [time_filter(level, bucket) for level, bucket in _whole(start, stop)]))
    begun = {timestamp_us // MICROSECONDS for timestamp_us in (since, last) if timestamp_us % MICROSECONDS}
    for second in begun:
        entries = await read(store, scope, time_filter(SECOND, second))
        number += sum(since <= entry.timestamp_us < last for entry in entries)
    return number


def _whole(start: int, stop: int, level: int = 0) -> Iterator[tuple[int, int]]:
    """The biggest buckets that make up these seconds, as levels and starts."""
    size = SIZES[level]
    first, last = -(-start // size) * size, stop // size * size
    if first >= last:
        if level < SECOND:
            yield from _whole(start, stop, level + 1)
        return
    yield from ((level, bucket) for bucket in range(first, last, size))
    if level < SECOND:
        yield from _whole(start, first, level + 1)
        yield from _whole(last, stop, level + 1)


def horizon() -> int:
    """The second before which everything lies."""
    return (SYSTEM_CLOCK.now() // MICROSECONDS // DAY + _DAYS_AHEAD + 1) * DAY


async def first_day(store: Store) -> int:
    """The start of the day of that entry which was stored first, as seconds; of today when there is none."""
    second = _second_of(store, await first_message(store, store.subjects.index_stream))
    return second // DAY * DAY


async def latest_second(store: Store) -> int:
    """The second of that entry which was stored last; now when there is none."""
    return _second_of(store, await last_message(store, store.subjects.index_stream))


def _second_of(store: Store, message: StoredMessage | None) -> int:
    """At least OLDEST; that of the entry, or else when it was stored."""
    if message is None:
        return SYSTEM_CLOCK.now() // MICROSECONDS
    entries = _entries(store, [message.subject])
    if entries and entries[0].timestamp_us >= OLDEST * MICROSECONDS:
        return entries[0].timestamp_us // MICROSECONDS
    return parse_timestamp_us(message.stored_at) // MICROSECONDS


def time_filter(level: int, start: int) -> str:
    return datetime.fromtimestamp(start, UTC).strftime(_FORMATS[level])


async def count(store: Store, scope: Scope, times: Sequence[str], *, much: bool = False) -> list[int]:
    """How many entries each of these times has; ``much`` where it may be a great deal."""
    wanted = [scope.filters(store, time) for time in times]
    others = [scope.exceptions(store, time) for time in times]
    asked = [subject for each in (*wanted, *others) for subject in each]
    found = iter(await (count_large if much else count_many)(store, store.subjects.index_stream, asked))
    numbers = [sum(next(found) for _ in each) for each in wanted]
    return [number - sum(next(found) for _ in each) for number, each in zip(numbers, others, strict=True)]


async def read(store: Store, scope: Scope, time: str, most: int = 0) -> list[IndexEntry]:
    """The entries of a time; with ``most``, of each status and handler so many of those that were stored first."""
    wanted, stream = scope.filters(store, time), store.subjects.index_stream
    subjects: Sequence[str] = []
    if wanted:
        subjects = await (
            first_subjects(store, stream, wanted, most) if most else subjects_matching(store, stream, wanted)
        )
    return [
        entry
        for entry in _entries(store, subjects)
        if entry.group != scope.excluded and (scope.handlers or not is_system_handler(entry.handler))
    ]


def _entries(store: Store, subjects: Sequence[str]) -> list[IndexEntry]:
    """Without what somebody else may have published there."""
    found = []
    for subject in subjects:
        with contextlib.suppress(ValueError):
            found.append(store.subjects.index_entry(subject))
    return found
