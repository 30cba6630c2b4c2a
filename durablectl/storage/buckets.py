"""Walking the index by time: days, hours, minutes and seconds are tokens of its subjects, so the server counts each.

A walk visits little more than it yields: a bucket is counted first, read when it is small, and opened when it is big.
Nothing is made on the server: counts and entries come by direct get.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.status import OTHER, Status
from durablectl.storage.counting import Counted, count_many, subjects_matching
from durablectl.storage.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from durablectl.storage.store import Store
    from durablectl.storage.subjects import IndexEntry

_DAY = 86_400
_SIZES = (_DAY, 3600, 60, 1)
_FORMATS = ("%Y%m%d.*.*.*", "%Y%m%d.%H.*.*", "%Y%m%d.%H.%M.*", "%Y%m%d.%H.%M.%S")
_SECOND = 3
_READ_AT_ONCE = 300
_FIRST_CHUNK = 4
_LARGEST_CHUNK = 128
_AHEAD_SECONDS = 2 * _DAY
"""How far clocks of other machines may be ahead of ours."""
_OLDEST_SECONDS = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp())


class Key(NamedTuple):
    """Where an entry stands in the order of the list."""

    moment: int
    invocation_id: str


@dataclass(frozen=True)
class Scope:
    """Entries by status, handler and partition key; empty means all. ``handlers`` and ``groups`` are alternatives."""

    groups: Sequence[str] = ()
    handlers: Sequence[str] = ()
    partition_key: str = ""

    def filters(self, store: Store, time: str = "*.*.*.*") -> list[str]:
        """The subjects to ask for, each entry in one of them."""
        return [
            store.subjects.index_filter(group, time, handler, self.partition_key or "*")
            for group, handler in product(self.groups or ("*",), self.handlers or ("*",))
        ]


class Range(NamedTuple):
    """Seconds since the epoch, from ``start`` up to but not including ``stop``."""

    start: int
    stop: int


async def count_all(store: Store, scope: Scope) -> int:
    return sum(counted.number for counted in await _count(store, scope.filters(store)))


async def count_groups(store: Store, groups: Sequence[str]) -> int:
    """Entries of these statuses, all for none. Most workflows have completed: those are what the others leave over."""
    if groups and Status.COMPLETED not in groups:
        return await count_all(store, Scope(groups))
    info = await stream_info(store, store.subjects.index_stream)
    everything = int(info["state"]["messages"]) if info is not None else 0
    others = sorted({*Status, OTHER} - set(groups)) if groups else []
    return everything - (await count_all(store, Scope(others)) if others else 0)


async def count_between(store: Store, scope: Scope, since: int, until: int) -> int:
    """Entries whose moment is at ``since`` or later and before ``until`` (microseconds; 0 for no bound)."""
    if not since:
        everything = await count_all(store, scope)
        return everything - (await count_between(store, scope, until, 0) if until else 0)
    last = until or SYSTEM_CLOCK.now() + _AHEAD_SECONDS * MICROSECONDS
    if last <= since:
        return 0
    # The seconds at either end are read, and what lies in between is counted.
    first_second, last_second = since // MICROSECONDS, last // MICROSECONDS
    edges = {first_second, last_second}
    inner = list(_whole(first_second + 1, last_second)) if last_second > first_second else []
    filters = [f for level, start in inner for f in scope.filters(store, _time(level, start))]
    number = sum(counted.number for counted in await _count(store, filters))
    for second in edges:
        entries = await _read(store, scope, _time(_SECOND, second))
        number += sum(since <= entry.moment < last for entry in entries)
    return number


def _whole(start: int, stop: int, level: int = 0) -> Iterator[tuple[int, int]]:
    """The biggest buckets that make up these seconds, as levels and starts."""
    size = _SIZES[level]
    first, last = -(-start // size) * size, stop // size * size
    if first >= last:
        if level < _SECOND:
            yield from _whole(start, stop, level + 1)
        return
    yield from ((level, bucket) for bucket in range(first, last, size))
    if level < _SECOND:
        yield from _whole(start, first, level + 1)
        yield from _whole(last, stop, level + 1)


class Walk:
    """The entries of a scope in the order of time, newest first unless ``oldest_first``.

    Those from ``since`` up to before ``until`` (microseconds, 0 for no bound), and only those behind the key ``after``.
    ``skip`` entries are left out at the beginning, without being read where that can be.
    """

    def __init__(
        self,
        store: Store,
        scope: Scope,
        *,
        since: int = 0,
        until: int = 0,
        after: Key | None = None,
        oldest_first: bool = False,
        skip: int = 0,
    ) -> None:
        self._store = store
        self._scope = scope
        self._since = since
        self._until = until
        self._after = after
        self._oldest_first = oldest_first
        self._skip = skip
        self._now = SYSTEM_CLOCK.now() // MICROSECONDS

    async def entries(self) -> AsyncIterator[IndexEntry]:
        async for entry in self._days():
            key = Key(entry.moment, entry.invocation_id)
            if entry.moment < self._since or (self._until and entry.moment >= self._until):
                continue
            if self._after is not None and (key <= self._after if self._oldest_first else key >= self._after):
                continue
            if self._skip:
                self._skip -= 1
                continue
            yield entry

    async def _days(self) -> AsyncIterator[IndexEntry]:
        counts = await _count(self._store, self._scope.filters(self._store))
        total = sum(counted.number for counted in counts)
        if not total:
            return
        if total <= _READ_AT_ONCE:
            for entry in self._ordered(await _read(self._store, self._scope, "*.*.*.*")):
                yield entry
            return
        start, stop = self._bounds()
        oldest = self._oldest(counts)
        if self._oldest_first:
            start = max(start, await self._oldest_day(oldest, total))
            async for entry in self._descend(0, Range(start, stop), None):
                yield entry
            return
        found = 0
        for part in _parts(Range(start, stop), oldest):
            async for entry in self._descend(0, part, total - found):
                found += 1
                yield entry
            if found >= total:
                return

    def _bounds(self) -> Range:
        start, stop = self._since // MICROSECONDS, self._now + _AHEAD_SECONDS
        if self._until:
            stop = min(stop, -(-self._until // MICROSECONDS))
        if self._after is not None:
            at = self._after.moment // MICROSECONDS
            return Range(max(start, at), stop) if self._oldest_first else Range(start, min(stop, at + 1))
        return Range(start, stop)

    def _oldest(self, counts: list[Counted]) -> int:
        """The day of the entry that was stored first. Rarely there are older ones, entered later by a repair."""
        firsts = [self._store.subjects.index_entry(counted.first).moment for counted in counts if counted.first]
        return min(firsts) // MICROSECONDS // _DAY * _DAY

    async def _oldest_day(self, likely: int, total: int) -> int:
        """The start of the first day that has entries."""
        found, oldest = 0, likely
        for part in _parts(Range(0, self._now + _AHEAD_SECONDS), likely):
            for chunk in _chunks(_starts(0, part), _LARGEST_CHUNK):
                for day, number in zip(chunk, await self._counts(0, chunk), strict=True):
                    found += number
                    oldest = day if number else oldest
                if found >= total:
                    return oldest
        return oldest

    async def _descend(self, level: int, part: Range, expected: int | None) -> AsyncIterator[IndexEntry]:
        """The entries of these seconds; ``expected`` is how many there are at most, if that is known."""
        size = _SIZES[level]
        starts = _starts(level, part)
        found = 0
        for chunk in _chunks(reversed(starts) if self._oldest_first else starts, _FIRST_CHUNK):
            opened = {s for s in chunk if level < _SECOND and self._is_open(s, size, part)}
            closed = [start for start in chunk if start not in opened]
            numbers = dict(zip(closed, await self._counts(level, closed), strict=True))
            for start in chunk:
                number = numbers.get(start)
                if number == 0:
                    continue
                inside = Range(max(start, part.start), min(start + size, part.stop))
                if number is not None and self._leave_out(number, inside, size):
                    found += number
                    continue
                if number is not None and (number <= _READ_AT_ONCE or level == _SECOND):
                    found += number
                    for entry in self._ordered(await _read(self._store, self._scope, _time(level, start))):
                        yield entry
                    continue
                async for entry in self._descend(level + 1, inside, number):
                    found += 1
                    yield entry
            if expected is not None and found >= expected:
                return

    def _is_open(self, start: int, size: int, part: Range) -> bool:
        """Not worth counting as a whole: the list begins or ends in the middle of it, or it is growing now."""
        return start < part.start or start + size > part.stop or start <= self._now < start + size

    def _leave_out(self, number: int, inside: Range, size: int) -> bool:
        """Whether all of a bucket is to be skipped."""
        is_whole = inside.stop - inside.start == size and self._is_within(inside)
        if not (is_whole and 0 < number <= self._skip):
            return False
        self._skip -= number
        return True

    def _is_within(self, inside: Range) -> bool:
        start, stop = inside.start * MICROSECONDS, inside.stop * MICROSECONDS
        after = self._after.moment if self._after is not None else None
        is_behind = after is None or (start > after if self._oldest_first else stop <= after)
        return is_behind and start >= self._since and (not self._until or stop <= self._until)

    def _ordered(self, entries: list[IndexEntry]) -> list[IndexEntry]:
        return sorted(entries, key=lambda e: (e.moment, e.invocation_id), reverse=not self._oldest_first)

    async def _counts(self, level: int, starts: Sequence[int]) -> list[int]:
        filters = [self._scope.filters(self._store, _time(level, start)) for start in starts]
        counted = iter(await _count(self._store, [f for each in filters for f in each]))
        return [sum(next(counted).number for _ in each) for each in filters]


def _parts(whole: Range, oldest: int) -> Iterator[Range]:
    """The days that are likely to hold everything, then all others, down to those of records without a time."""
    bounds = [whole.stop, min(whole.stop, oldest), min(oldest, _OLDEST_SECONDS)]
    for stop, start in pairwise(bounds):
        if max(start, whole.start) < stop:
            yield Range(max(start, whole.start), stop)
    if whole.start < _DAY:
        yield Range(whole.start, _DAY)


def _starts(level: int, part: Range) -> range:
    """The buckets that touch these seconds, the newest first."""
    size = _SIZES[level]
    return range((part.stop - 1) // size * size, part.start // size * size - 1, -size)


def _chunks(starts: Iterator[int] | range, first: int) -> Iterator[list[int]]:
    """Few at first, then more and more."""
    chunk: list[int] = []
    for start in starts:
        chunk.append(start)
        if len(chunk) == first:
            yield chunk
            chunk, first = [], min(2 * first, _LARGEST_CHUNK)
    if chunk:
        yield chunk


def _time(level: int, start: int) -> str:
    return datetime.fromtimestamp(start, UTC).strftime(_FORMATS[level])


async def _count(store: Store, filters: list[str]) -> list[Counted]:
    return await count_many(store, store.subjects.index_stream, filters)


async def _read(store: Store, scope: Scope, time: str) -> list[IndexEntry]:
    subjects = await subjects_matching(store, store.subjects.index_stream, scope.filters(store, time))
    return [store.subjects.index_entry(subject) for subject in subjects]
