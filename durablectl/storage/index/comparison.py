"""How the index and the states of a few workflows differ: what an entry should say, and what it says."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from durablectl.errors import InvalidNameError, StorageError, UnreadableError
from durablectl.model.codec import decode_execution
from durablectl.model.names import is_name, validate_name
from durablectl.storage.index import index_entries
from durablectl.storage.streams.direct_get import get_many_last
from durablectl.storage.streams.stored_messages import parse_timestamp_us

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import IndexEntry, Subjects

_T = TypeVar("_T")

BATCH_SIZE = 500
"""Workflows looked at, or mended, together."""


class DisagreementKind(StrEnum):
    """How index and states can differ."""

    MISSING = "missing"
    """A state has no entry."""
    FOREIGN = "foreign"
    """The same, of a record that another implementation wrote."""
    OUTDATED = "outdated"
    """An entry says what its state does not say, and no other one does."""
    DUPLICATE = "doubled"
    """An entry beside the right one."""
    ORPHANED = "gone"
    """An entry whose state does not exist, or cannot be read."""
    MALFORMED = "malformed"
    """A subject in the index that is no entry."""
    UNNAMED_WAITS = "unnamed_waits"
    """The entry of an earlier version, which is right but does not name what its workflow waits for."""


class Disagreement(NamedTuple):
    """``subject`` is the entry that should be there, or should not; ``sequence`` that of the latter.

    ``execution`` is the state as it was read, None where there is none; ``kept`` the right entry where it is doubled,
    or is to replace one that does not name waits.
    """

    kind: DisagreementKind
    invocation_id: str
    subject: str
    sequence: int = 0
    execution: Execution | None = None
    kept: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Tells whether it is the same at the next look: a foreign record gets another time whenever it is written."""
        return self.invocation_id, self.kind if self.kind == DisagreementKind.FOREIGN else self.subject

    @property
    def is_absence(self) -> bool:
        return self.kind in {DisagreementKind.MISSING, DisagreementKind.FOREIGN}


class IndexedState(NamedTuple):
    """A state as the index should have it, under ``subject``; that is empty where its names cannot be in a subject.

    A record of another implementation does not say when it entered its status: any time will do, and it is entered
    under that of its creation, or of its last write.
    """

    execution: Execution
    subject: str
    is_foreign: bool
    earlier_subject: str = ""
    """The entry that an earlier version wrote for it, where that is another one: it agrees, too."""

    def agrees(self, subjects: Subjects, subject: str) -> bool:
        """Whether an entry says what this state says."""
        if not self.subject or subject in {self.subject, self.earlier_subject}:
            return bool(subject) and subject in {self.subject, self.earlier_subject}
        return self.is_foreign and _without_time(subjects, subject) == _without_time(subjects, self.subject)


def is_mass_loss(gone: int, records: int) -> bool:
    """Whether so many entries without a record, beside so many records, look like records that were lost.

    A client that dies in the middle of a deletion leaves one; a purge, or an older backup of the records, many.
    """
    return gone > 1 and gone >= records


async def compare(store: Store, suspects: Mapping[str, Collection[str]]) -> list[Disagreement]:
    """How these workflows, at most AT_ONCE, and the entries known of each disagree now.

    Each entry is seen before its state, so that an entry for what its state has just become is not taken for wrong.
    """
    known = await index_entries.subjects_present(
        store, [subject for entries in suspects.values() for subject in entries]
    )
    states = await read_states(store, suspects)
    own = [subject for seen in states.values() for subject in (seen.subject, seen.earlier_subject) if subject]
    known |= await index_entries.subjects_present(store, own)
    found: list[Disagreement] = []
    for invocation_id, entries in suspects.items():
        found += _compare_entries(store.subjects, invocation_id, states.get(invocation_id), entries, known)
    return found


def _compare_entries(
    subjects: Subjects,
    invocation_id: str,
    seen: IndexedState | None,
    entries: Collection[str],
    known: Mapping[str, int],
) -> Iterator[Disagreement]:
    present = [subject for subject in entries if subject in known]
    if seen is None:
        yield from (
            Disagreement(DisagreementKind.ORPHANED, invocation_id, subject, known[subject]) for subject in present
        )
        return
    possible = {*present, seen.subject, seen.earlier_subject}
    right = [subject for subject in possible if subject in known and seen.agrees(subjects, subject)]
    kept = seen.subject if seen.subject in right else max(right, default="")
    if seen.subject and not kept:
        kind = DisagreementKind.FOREIGN if seen.is_foreign else DisagreementKind.MISSING
        yield Disagreement(kind, invocation_id, seen.subject, execution=seen.execution)
    if kept and kept == seen.earlier_subject:
        kind = DisagreementKind.UNNAMED_WAITS
        yield Disagreement(kind, invocation_id, kept, known[kept], seen.execution, kept=seen.subject)
    kind = DisagreementKind.DUPLICATE if kept else DisagreementKind.OUTDATED
    for subject in present:
        if subject != kept:
            yield Disagreement(kind, invocation_id, subject, known[subject], seen.execution, kept)


async def read_states(store: Store, invocation_ids: Collection[str]) -> dict[str, IndexedState]:
    """The states that exist and can be read, of at most AT_ONCE."""
    subjects = store.subjects
    states = [subjects.state(each) for each in invocation_ids if is_name(each)]
    if not states:
        return {}
    answer = await get_many_last(store, subjects.state_stream, states)
    found: dict[str, IndexedState] = {}
    for raw in answer.messages if answer is not None else ():
        key = subjects.state_key(raw.subject)
        seen = parse_state(store, key, raw.data, parse_timestamp_us(raw.stored_at))
        if seen is not None:
            found[key] = seen
    return found


def batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    """So many as are looked at together."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch


def parse_index_entry(subjects: Subjects, subject: str) -> IndexEntry | None:
    """None for what is no entry, or would not be found under its names."""
    try:
        entry = subjects.index_entry(subject)
        is_entry = bool(entry.invocation_id) and subjects.index(*entry[:-1], waits=entry.waits) == subject
    except (ValueError, OverflowError):
        return None
    return entry if is_entry else None


def _without_time(subjects: Subjects, subject: str) -> IndexEntry:
    return subjects.index_entry(subject)._replace(timestamp_us=0, waits="")


def parse_state(store: Store, invocation_id: str, data: bytes, timestamp_us: int) -> IndexedState | None:
    """``timestamp_us`` is when the record was stored. None for what is no record."""
    try:
        execution = decode_execution(data, invocation_id)
    except StorageError:
        return None
    execution.invocation_id = invocation_id
    # What a processor of ours has claimed has its entries at the time that the record says, even if it says none.
    is_foreign = not execution.indexed_at
    if is_foreign and not execution.attempt:
        execution.indexed_at = execution.created_at or timestamp_us
    subject = earlier_subject = ""
    names_waits = bool(execution.index_waits) or not execution.suspended_waits
    with suppress(InvalidNameError, UnreadableError):
        validate_name("invocation id", invocation_id)
        validate_name("handler", execution.handler)
        if execution.partition_key:
            validate_name("partition key", execution.partition_key)
        subject = index_entries.index_subject(store.subjects, execution)
        if not names_waits:
            earlier_subject = subject
            execution.name_waits_in_index()
            subject = index_entries.index_subject(store.subjects, execution)
    return IndexedState(execution, subject, is_foreign, earlier_subject)
