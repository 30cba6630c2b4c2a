"""Walking the index in the order of time, visiting little more than is shown.

A bucket is counted first, read when it is small, and opened when it is big.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.storage.index.time_buckets import (
    ANY_TIME,
    DAY,
    OLDEST,
    READ_AT_ONCE,
    SECOND,
    SIZES,
    Range,
    SortKey,
    count,
    count_all,
    count_within,
    first_day,
    horizon,
    latest_second,
    read,
    time_filter,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Iterator

    from durablectl.storage.connection.store import Store
    from durablectl.storage.index.time_buckets import Scope
    from durablectl.storage.subjects import IndexEntry

_FIRST_CHUNK = 4
_LARGEST_CHUNK = 128
_QUICKLY_COUNTED = 20_000
"""Entries that the server counts in no time."""


class Traversal:
    """The entries of a scope in the order of time, newest first unless ``oldest_first``.

    Those from ``since`` up to before ``until`` (microseconds, 0 for no bound), and only those behind the key ``after``.
    ``skip`` entries are left out at the beginning, without being read where that can be. ``total`` is what count_all
    says of the scope, if that is known. With ``most_per_second``, of a second with more entries those that were stored
    first are read, which are about its oldest: for a look, not for a list.
    """

    def __init__(
        self,
        store: Store,
        scope: Scope,
        *,
        since: int = 0,
        until: int = 0,
        after: SortKey | None = None,
        oldest_first: bool = False,
        skip: int = 0,
        total: int | None = None,
        most_per_second: int = 0,
    ) -> None:
        self._store = store
        self._scope = scope
        self._since = since
        self._until = until
        self._after = after
        self._oldest_first = oldest_first
        self._skip = skip
        self._total = total
        self._most_per_second = most_per_second
        self._now = SYSTEM_CLOCK.now() // MICROSECONDS
        self._busy: set[int] = set()

    async def entries(self) -> AsyncIterator[IndexEntry]:
        async for entry in self._unbounded():
            key = SortKey(entry.timestamp_us, entry.invocation_id)
            if entry.timestamp_us < self._since or (self._until and entry.timestamp_us >= self._until):
                continue
            if self._after is not None and (key <= self._after if self._oldest_first else key >= self._after):
                continue
            if self._skip:
                self._skip -= 1
                continue
            yield entry

    async def _unbounded(self) -> AsyncIterator[IndexEntry]:
        """Those of the days that are asked for, or a few more."""
        if self._total is None and not self._since:
            self._total = await count_all(self._store, self._scope)
        if self._total is not None and self._total <= READ_AT_ONCE:
            for entry in self._ordered(await read(self._store, self._scope, ANY_TIME) if self._total else []):
                yield entry
            return
        if self._total is None or self._total > _QUICKLY_COUNTED:
            self._busy = {self._now, await latest_second(self._store)}
        async for part in self._parts():
            async for entry in self._read_buckets(0, part):
                yield entry

    async def _parts(self) -> AsyncIterator[Range]:
        """The days on which entries lie, in the order of the walk."""
        asked = self._requested_range()
        first = await first_day(self._store)
        recent = Range(max(asked.start, first), asked.stop)
        # Rarely there are entries older than the one that was stored first: a repair has entered them.
        older = [Range(max(asked.start, OLDEST), min(first, asked.stop)), Range(asked.start, DAY)]
        if not self._oldest_first:
            yield recent
        if asked.start < first and await self._has_older(first):
            for part in reversed(older) if self._oldest_first else older:
                yield part
        if self._oldest_first:
            yield recent

    def _requested_range(self) -> Range:
        start, stop = self._since // MICROSECONDS, horizon()
        if self._until:
            stop = min(stop, -(-self._until // MICROSECONDS))
        if self._after is not None:
            at = self._after.timestamp_us // MICROSECONDS
            return Range(max(start, at), stop) if self._oldest_first else Range(start, min(stop, at + 1))
        return Range(start, stop)

    async def _has_older(self, first: int) -> bool:
        """Whether not all is younger. What is entered in between makes it seem so, which does no harm."""
        recent = await count_within(self._store, self._scope, first * MICROSECONDS, horizon() * MICROSECONDS)
        return recent < await count_all(self._store, self._scope)

    async def _read_buckets(self, level: int, part: Range) -> AsyncIterator[IndexEntry]:
        """The entries of these seconds, or of the buckets that they touch."""
        size = SIZES[level]
        starts = _starts(level, part)
        opened = {start for start in starts if level < SECOND and self._is_open(start, size, part)}
        for chunk in _chunks(starts[::-1] if self._oldest_first else starts, opened):
            closed = [start for start in chunk if start not in opened]
            counted = await count(self._store, self._scope, [time_filter(level, start) for start in closed])
            numbers = dict(zip(closed, counted, strict=True))
            for start in chunk:
                number = numbers.get(start, -1)
                inside = Range(max(start, part.start), min(start + size, part.stop))
                if not number or self._skip_bucket(number, inside, size):
                    continue
                if 0 < number <= READ_AT_ONCE or level == SECOND:
                    most = 0 if 0 < number <= READ_AT_ONCE else self._most_per_second
                    for entry in self._ordered(await read(self._store, self._scope, time_filter(level, start), most)):
                        yield entry
                    continue
                async for entry in self._read_buckets(level + 1, inside):
                    yield entry

    def _is_open(self, start: int, size: int, part: Range) -> bool:
        """Not counted, because it may hold a great deal: the list begins or ends in the middle of it, or it is busy."""
        is_part = start < part.start or start + size > part.stop
        return (is_part and bool(self._busy)) or any(start <= second < start + size for second in self._busy)

    def _skip_bucket(self, number: int, inside: Range, size: int) -> bool:
        """Whether all of a bucket is to be skipped."""
        is_whole = inside.stop - inside.start == size and self._is_within(inside)
        if not (is_whole and 0 < number <= self._skip):
            return False
        self._skip -= number
        return True

    def _is_within(self, inside: Range) -> bool:
        start, stop = inside.start * MICROSECONDS, inside.stop * MICROSECONDS
        after = self._after.timestamp_us if self._after is not None else None
        is_behind = after is None or (start > after if self._oldest_first else stop <= after)
        return is_behind and start >= self._since and (not self._until or stop <= self._until)

    def _ordered(self, entries: list[IndexEntry]) -> list[IndexEntry]:
        return sorted(entries, key=lambda e: (e.timestamp_us, e.invocation_id), reverse=not self._oldest_first)


def _starts(level: int, part: Range) -> range:
    """The buckets that touch these seconds, the newest first."""
    size = SIZES[level]
    if part.start >= part.stop:
        return range(0)
    return range((part.stop - 1) // size * size, part.start // size * size - 1, -size)


def _chunks(starts: range, alone: Container[int]) -> Iterator[list[int]]:
    """Few at first, then more and more; those that are not to be counted each alone, behind what comes before."""
    size = _FIRST_CHUNK
    chunk: list[int] = []
    for start in starts:
        if start in alone and chunk:
            yield chunk
            chunk = []
        chunk.append(start)
        if len(chunk) == size or start in alone:
            yield chunk
            chunk, size = [], min(2 * size, _LARGEST_CHUNK) if start not in alone else _FIRST_CHUNK
    if chunk:
        yield chunk
