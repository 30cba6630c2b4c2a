"""Comparing the whole index with all states: one pass through each, then two more looks at what seems to differ."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.names import is_system_handler
from durablectl.model.status import Status
from durablectl.storage.index.comparison import (
    Disagreement,
    DisagreementKind,
    batches,
    compare,
    parse_index_entry,
    parse_state,
)
from durablectl.storage.streams.direct_get import get_message
from durablectl.storage.streams.feed import read_snapshot
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import Change

PAUSE_SECONDS = 0.5
"""Within which a change of a workflow has reached the index."""
_PROGRESS_EVERY = 1000

Progress = Callable[[str, int, int], None]
"""Told what is being done ("workflows read"), how many it is done to, and of how many."""


class RunningWorkflow(NamedTuple):
    """A running workflow, as its state says."""

    invocation_id: str
    handler: str
    owner: str


@dataclass
class Audit:
    """What one pass through both streams has found.

    ``suspects`` are the ids of those that seem to disagree, each with the entries that no state has confirmed;
    ``malformed`` are subjects by sequence, ``waiting`` the ids of what is pending or suspended. ``unreadable`` and
    ``unnamed`` are the keys of records that are none, and of those whose names cannot be entered. ``waits`` are those
    that entries of each handler should name, ``unnamed_waits`` the ids of workflows whose entries do not.
    """

    states: int = 0
    entries: int = 0
    has_index: bool = True
    statuses: Counter[str] = field(default_factory=Counter)
    handlers: set[str] = field(default_factory=set)
    waits: dict[str, set[str]] = field(default_factory=dict)
    unnamed_waits: list[str] = field(default_factory=list)
    running: list[RunningWorkflow] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    suspects: dict[str, set[str]] = field(default_factory=dict)
    malformed: dict[int, str] = field(default_factory=dict)


async def audit(store: Store, progress: Progress | None = None, *, has_index: bool = True) -> Audit:
    """Read both streams. Some suspects are only changing right now: ``confirm`` tells.

    Without ``has_index`` the index cannot be read, and is left out.
    """
    subjects = store.subjects
    reading = _AuditReader(store, progress)
    found = reading.found
    # The states come after the entries: what a state disowns may still be moving, and is looked at again.
    found.has_index = has_index and await stream_info(store, subjects.index_stream) is not None
    if found.has_index:
        await reading.each(
            subjects.index_stream, subjects.index_stream_subjects[0], reading.take_entry, "index entries"
        )
    await reading.each(subjects.state_stream, subjects.all_states, reading.take_state, "workflows read")
    if not found.has_index:
        found.suspects.clear()
    for subject in reading.unconfirmed:
        found.suspects.setdefault(subjects.index_entry(subject).invocation_id, set()).add(subject)
    return found


class _AuditReader:
    """The two passes; ``unconfirmed`` are the entries that no state has confirmed yet."""

    def __init__(self, store: Store, progress: Progress | None) -> None:
        self.found = Audit()
        self.unconfirmed: set[str] = set()
        self._store = store
        self._progress = progress

    def take_entry(self, change: Change) -> None:
        self.found.entries += 1
        if parse_index_entry(self._store.subjects, change.subject) is None:
            self.found.malformed[change.sequence] = change.subject
        else:
            self.unconfirmed.add(change.subject)

    def take_state(self, change: Change) -> None:
        if change.deleted:
            return
        found = self.found
        found.states += 1
        key = self._store.subjects.state_key(change.subject)
        seen = parse_state(self._store, key, change.data, change.timestamp_us)
        if seen is None:
            found.unreadable.append(key)
            return
        execution = seen.execution
        found.statuses[execution.status] += not is_system_handler(execution.handler)
        if execution.status == Status.RUNNING and execution.owner:
            found.running.append(RunningWorkflow(key, execution.handler, execution.owner))
        if execution.status in {Status.PENDING, Status.SUSPENDED}:
            found.waiting.append(key)
        if not seen.subject:
            found.unnamed.append(key)
            return
        if not is_system_handler(execution.handler):
            found.handlers.add(execution.handler)
        if execution.index_waits and not seen.earlier_subject:
            found.waits.setdefault(execution.handler, set()).add(execution.index_waits)
        if seen.subject in self.unconfirmed:
            self.unconfirmed.remove(seen.subject)
        elif seen.earlier_subject in self.unconfirmed:
            self.unconfirmed.remove(seen.earlier_subject)
            found.unnamed_waits.append(key)
        else:
            found.suspects[key] = set()

    async def each(self, stream: str, filter_subject: str, take: Callable[[Change], None], what: str) -> None:
        number = 0
        async for change in read_snapshot(self._store, stream, [filter_subject]):
            number += 1
            take(change)
            if self._progress is not None and number % _PROGRESS_EVERY == 0:
                self._progress(what, number, number + change.remaining)


async def confirm(store: Store, found: Audit, progress: Progress | None = None) -> list[Disagreement]:
    """What is still so, and so again a moment later: the rest was changing.

    An entry of an earlier version is right.
    """
    first = await _compare_all(store, found.suspects, found.malformed, progress)
    if not first:
        return []
    await asyncio.sleep(PAUSE_SECONDS)
    suspects: dict[str, set[str]] = defaultdict(set)
    malformed = {}
    for each in first:
        if each.kind == DisagreementKind.MALFORMED:
            malformed[each.sequence] = each.subject
        else:
            suspects[each.invocation_id] |= found.suspects[each.invocation_id]
    keys = {each.key for each in first}
    return [each for each in await _compare_all(store, suspects, malformed, progress) if each.key in keys]


async def _compare_all(
    store: Store, suspects: Mapping[str, Collection[str]], malformed: Mapping[int, str], progress: Progress | None
) -> list[Disagreement]:
    found: list[Disagreement] = []
    done = 0
    for batch in batches(suspects):
        found += await compare(store, {invocation_id: suspects[invocation_id] for invocation_id in batch})
        done += len(batch)
        if progress is not None:
            progress("differences looked at", done, len(suspects))
    found = [each for each in found if each.kind != DisagreementKind.UNNAMED_WAITS]
    for sequences in batches(malformed):
        stream = store.subjects.index_stream
        present = await asyncio.gather(*(get_message(store, stream, {"seq": sequence}) for sequence in sequences))
        found += [
            Disagreement(DisagreementKind.MALFORMED, "", malformed[sequence], sequence)
            for sequence, message in zip(sequences, present, strict=True)
            if message is not None
        ]
    return found
