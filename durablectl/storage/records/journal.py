"""The journal of a workflow that has not ended: fenced appends, complete reads, and its removal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import StorageError, UnreadableError
from durablectl.model.codec import decode_entry, encode_entry
from durablectl.model.status import is_terminal
from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED, EXPECTED_SUBJECT, Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.records.consistent_reads import get_many_at
from durablectl.storage.records.states import ttl_header
from durablectl.storage.streams.direct_get import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

READ_AT_ONCE = 1000
"""Entries named in one read; also how far a running step may be ahead of the oldest unfinished one, so that a read in
numbered blocks can stop at the first empty block."""


async def append(store: Store, invocation_id: str, entry: JournalEntry, owned_revision: int) -> bool:
    """Store one entry if the state still stands at ``owned_revision``; False means fenced out.

    Sent again after a lost acknowledgement it writes the same entry over itself. Raises ConnectionFailedError when the
    server does not answer: the caller then knows nothing and must ask the state.
    """
    headers = {EXPECTED: str(owned_revision), EXPECTED_SUBJECT: store.subjects.state(invocation_id)}
    try:
        await store.requests.publish(
            store.subjects.journal(invocation_id, entry.step_number), encode_entry(entry), headers
        )
    except WrongSequenceError:
        return False
    return True


async def read(store: Store, invocation_id: str, at_least: int = 0) -> list[JournalEntry]:
    """All entries in the order of their numbers, as of stream sequence ``at_least`` or later.

    A replica that lags behind ``at_least`` is asked again, so that whoever took ownership at that sequence sees every
    entry that was accepted before.
    """
    everything = await _read(store, invocation_id, [store.subjects.journal(invocation_id, "*")], at_least)
    if everything is not None:
        return everything
    entries: list[JournalEntry] = []
    first = 0
    while True:
        block = await read_range(store, invocation_id, first, first + READ_AT_ONCE, at_least)
        if not block:
            return await _check_complete(store, invocation_id, entries)
        entries.extend(block)
        first += READ_AT_ONCE


async def _check_complete(store: Store, invocation_id: str, entries: list[JournalEntry]) -> list[JournalEntry]:
    """Behind an empty block lies nothing, or a thousand entries are gone: steps would run again unnoticed."""
    number = await count(store, store.subjects.state_stream, store.subjects.journal(invocation_id, "*"))
    if number > len(entries) + READ_AT_ONCE:
        raise UnreadableError(
            f"The journal of {invocation_id} cannot be read: a thousand entries and more are missing in it."
        )
    return entries


async def load_journal(store: Store, execution: Execution, at_least: int = 0) -> list[JournalEntry]:
    """The journal wherever it is: inside the record, in the stream, or after a retry in both."""
    if execution.attempt == 0 or (is_terminal(execution.status) and not execution.journal_length):
        return execution.journal
    entries = await read(store, execution.invocation_id, at_least)
    if not execution.journal:
        return entries
    by_number = {entry.step_number: entry for entry in [*execution.journal, *entries]}
    return [by_number[number] for number in sorted(by_number)]


class JournalRange(NamedTuple):
    """Some entries of a journal, how many come before them, and how many there are altogether."""

    entries: list[JournalEntry]
    before: int
    length: int


async def load_range(store: Store, execution: Execution, start: int | None, stop: int | None) -> JournalRange:
    """The entries numbered from ``start`` up to before ``stop``; negative counts from the end, None has no bound.

    Of a long journal in the stream only these are read.
    """
    number = 0
    if execution.attempt and not execution.journal and (execution.journal_length or not is_terminal(execution.status)):
        everything = store.subjects.journal(execution.invocation_id, "*")
        number = await count(store, store.subjects.state_stream, everything)
    if number <= READ_AT_ONCE:
        entries = await load_journal(store, execution)
        low, high = _bounds(start, stop, entries[-1].step_number + 1 if entries else 0)
        before = sum(entry.step_number < low for entry in entries)
        return JournalRange([entry for entry in entries if low <= entry.step_number < high], before, len(entries))
    low, high = _bounds(start, stop, min(max(number, execution.total_steps), number + READ_AT_ONCE))
    blocks = [
        await read_range(store, execution.invocation_id, first, min(first + READ_AT_ONCE, high))
        for first in range(low, high, READ_AT_ONCE)
    ]
    return JournalRange([entry for block in blocks for entry in block], min(low, number), number)


def _bounds(start: int | None, stop: int | None, end: int) -> tuple[int, int]:
    low, high, _ = slice(start, stop).indices(end)
    return low, high


async def read_range(store: Store, invocation_id: str, start: int, stop: int, at_least: int = 0) -> list[JournalEntry]:
    """The entries numbered from ``start`` up to but not including ``stop``, at most READ_AT_ONCE of them."""
    subjects = [store.subjects.journal(invocation_id, number) for number in range(start, stop)]
    entries = await _read(store, invocation_id, subjects, at_least)
    if entries is None:
        raise StorageError(f"The journal of {invocation_id} holds more than one message for a step.")
    return entries


def parse_entry(subject: str, data: bytes) -> JournalEntry | None:
    """None for what somebody else has published beside the entries. UnreadableError for what stands in one's place."""
    number = subject.rpartition(".")[2]
    if not (number.isascii() and number.isdigit() and str(int(number[:12])) == number):
        _log.warning("Left out: %s is no journal entry.", subject)
        return None
    entry = decode_entry(data, f"The message on {subject}")
    if entry.step_number != int(number):
        raise UnreadableError(
            f"The message on {subject} cannot be read: it is the entry of step {entry.step_number}.",
            hint="Something else wrote to this subject.",
        )
    return entry


async def _read(store: Store, invocation_id: str, subjects: Sequence[str], at_least: int) -> list[JournalEntry] | None:
    # The state is asked for too: an answer that matches nothing at all does not say how far its replica has come.
    state = store.subjects.state(invocation_id)
    answer = await get_many_at(store, subjects, at_least, with_each=state)
    if answer is None:
        return None
    entries = [parse_entry(raw.subject, raw.data) for raw in answer.messages if raw.subject != state]
    return sorted((entry for entry in entries if entry), key=lambda entry: entry.step_number)


def expiry_requests(
    store: Store, execution: Execution, revision: int, entries: Sequence[JournalEntry]
) -> list[Request]:
    """The writes after which what has ended at ``revision`` takes its journal along when its retention is over."""
    fence = {EXPECTED: str(revision), EXPECTED_SUBJECT: store.subjects.state(execution.invocation_id)}
    headers = {**fence, **ttl_header(store, execution)}
    subject = store.subjects.journal
    return [
        Request(subject(execution.invocation_id, e.step_number), encode_entry(e), headers, may_exist=True)
        for e in entries
    ]


def entry_purge_requests(store: Store, invocation_id: str, numbers: Iterable[int], revision: int) -> list[Request]:
    """The writes that remove the entries with these numbers that are older than ``revision``."""
    subjects, stream = store.subjects, store.subjects.state_stream
    return [purge_request(store, stream, subjects.journal(invocation_id, number), revision) for number in numbers]


def purge_requests(store: Store, invocation_id: str, length: int, revision: int, unstored: int = -1) -> list[Request]:
    """The writes that remove the entries numbered below ``length`` of an invocation that ended at ``revision``.

    The one numbered ``unstored`` is not there. One purge of a wildcard costs the server less than two by name, and one
    fsync where it syncs always.
    """
    if length - (unstored >= 0) > 1:
        everything = store.subjects.journal(invocation_id, "*")
        return [purge_request(store, store.subjects.state_stream, everything, revision)]
    return entry_purge_requests(store, invocation_id, {*range(length)} - {unstored}, revision)
