"""Repairing the index while processors run: every write follows from a state just read, and is looked at afterwards.

What is missing is entered before what is wrong is removed. Dying anywhere leaves at most an entry too many, which its
state disowns and another run removes.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.control.audit_trail import audited, record_change
from durablectl.errors import NotProvisionedError, PermissionDeniedError, StorageError
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.connection.requests import Request
from durablectl.storage.diagnosis.abandoned import find_abandoned
from durablectl.storage.diagnosis.index_audit import PAUSE_SECONDS, audit, confirm
from durablectl.storage.diagnosis.missing_wakeups import find_missing_wakeups
from durablectl.storage.index import entering, index_entries
from durablectl.storage.index.comparison import DisagreementKind, batches, compare, is_mass_loss, read_states
from durablectl.storage.records.armed_schedules import arm_again, find_unarmed
from durablectl.storage.streams.direct_get import get_message
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.index_audit import Audit, Progress
    from durablectl.storage.index.comparison import Disagreement, IndexedState

_ROUNDS = 3


@dataclass
class RepairReport:
    """``entered`` are workflows without an entry, ``foreign`` those of them that another program wrote.

    ``removed`` are wrong entries, ``handlers`` names that were unknown, ``called`` workflows whose commands were gone,
    ``armed`` schedules whose messages were gone,
    ``waits_named`` entries of an earlier version that now name what their workflows wait for, ``kept`` entries whose
    records look lost. A dry run says what there would be to do.
    """

    is_dry_run: bool = False
    entered: int = 0
    foreign: int = 0
    removed: int = 0
    handlers: int = 0
    called: int = 0
    armed: int = 0
    kept: int = 0
    waits_named: int = 0

    @property
    def changes(self) -> int:
        return self.entered + self.removed + self.handlers + self.called + self.armed + self.waits_named

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.is_dry_run,
            "entered": self.entered,
            "foreign": self.foreign,
            "removed": self.removed,
            "handlers": self.handlers,
            "called": self.called,
            "armed": self.armed,
            "kept": self.kept,
            "waits_named": self.waits_named,
        }


@audited("doctor.repair", "_")
async def repair(
    store: Store, *, dry_run: bool = False, forget_lost: bool = False, progress: Progress | None = None
) -> RepairReport:
    """Idempotent, and safe beside processors and other repairs.

    Where the records look purged, the entries without one are kept unless ``forget_lost``: they are the last list of
    what existed.

    Raises NotProvisionedError where there is no index to enter anything in, PermissionDeniedError.
    """
    await require_provisioned(store)
    found = await audit(store, progress)
    if not found.has_index:
        raise NotProvisionedError(
            f"There is no index to repair: the stream {store.subjects.index_stream} does not exist.",
            hint="Start a processor (durablectl run processor) to create it.",
        )
    ids = [each.invocation_id for each in found.running]
    left = {each.invocation_id for each in await find_abandoned(store, ids)}
    unarmed = await find_unarmed(store)
    idle = await find_missing_wakeups(store, found.waiting, left)
    unknown = await index_entries.unknown_names(store, found.handlers, found.waits)
    if dry_run:
        numbers = Counter(each.kind for each in await confirm(store, found, progress))
        entered = numbers[DisagreementKind.MISSING] + numbers[DisagreementKind.FOREIGN]
        gone = numbers[DisagreementKind.ORPHANED]
        kept = gone if is_mass_loss(gone, found.states) and not forget_lost else 0
        return RepairReport(
            is_dry_run=True,
            entered=entered,
            foreign=numbers[DisagreementKind.FOREIGN],
            removed=numbers.total() - entered - kept,
            handlers=len(unknown),
            called=len(idle),
            armed=len(unarmed),
            kept=kept,
            waits_named=len(found.unnamed_waits),
        )
    await record_change(forget_lost=forget_lost)
    repairs = _Repairs(store, forget_lost=forget_lost)
    try:
        if unknown:
            await index_entries.add_handlers(store, [name for names in unknown.values() for name in names])
            repairs.done.handlers = len(unknown)
        await repairs.repair_all(found, progress)
        for executions in batches(idle):
            await store.requests.exchange([wake_request(store, execution) for execution in executions])
        repairs.done.called = len(idle)
        repairs.done.armed = len(await arm_again(store, unarmed))
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            "These credentials may not repair: the server refused what has to be written.",
            hint=f"{error.message} {error.hint}",
        ) from error
    return repairs.done


class _Repairs:
    """Goes through what seems to disagree, AT_ONCE workflows at a time."""

    def __init__(self, store: Store, *, forget_lost: bool) -> None:
        self.done = RepairReport()
        self._forget_lost = forget_lost
        self._store = store
        self._stateless: dict[str, Collection[str]] = {}

    async def repair_all(self, found: Audit, progress: Progress | None) -> None:
        done = 0
        nothing: Collection[str] = ()
        suspects = {**found.suspects, **dict.fromkeys(found.unnamed_waits, nothing)}
        for batch in batches(suspects):
            await self._repair({invocation_id: suspects[invocation_id] for invocation_id in batch})
            done += len(batch)
            if progress is not None:
                progress("differences mended", done, len(suspects))
        for malformed in batches(found.malformed):
            await self._delete(malformed)
        if is_mass_loss(len(self._stateless), found.states) and not self._forget_lost:
            self.done.kept = len(self._stateless)
        else:
            await self._repair_stateless()

    async def _repair_stateless(self) -> None:
        """A start enters its workflow before it stores the state: time is left for that, before and after."""
        if not self._stateless:
            return
        stateless, self._stateless = self._stateless, {}
        for entries in (stateless, dict.fromkeys(stateless, ())):
            await asyncio.sleep(PAUSE_SECONDS)
            for batch in batches(entries):
                await self._repair({each: entries[each] for each in batch}, with_stateless=True)

    async def _repair(self, suspects: Mapping[str, Collection[str]], *, with_stateless: bool = False) -> None:
        for _ in range(_ROUNDS):
            found = await compare(self._store, suspects)
            absent = [each for each in found if each.is_absence]
            absent += [
                each._replace(subject=each.kept) for each in found if each.kind == DisagreementKind.UNNAMED_WAITS
            ]
            extra = [each for each in found if not each.is_absence]
            if not with_stateless:
                self._stateless |= {
                    e.invocation_id: suspects[e.invocation_id] for e in extra if e.kind == DisagreementKind.ORPHANED
                }
                extra = [each for each in extra if each.kind != DisagreementKind.ORPHANED]
            if absent:
                entered = await entering.enter(self._store, absent)
                self.done.entered += entered.workflows
                self.done.foreign += entered.foreign
                self.done.waits_named += entered.waits_named
            moved = await self._remove(extra) if extra else set()
            if not moved:
                return
            suspects = {invocation_id: suspects[invocation_id] for invocation_id in moved}

    async def _remove(self, extra: Sequence[Disagreement]) -> set[str]:
        """The ids of those whose state has changed meanwhile; they are to be looked at again."""
        store = self._store
        ids = {each.invocation_id for each in extra}
        before = await read_states(store, ids)
        wrong = [each for each in extra if _is_disowned(store, before.get(each.invocation_id), each)]
        answers = await store.requests.exchange(
            [entering.removal(store, each.subject, each.sequence) for each in wrong]
        )
        self.done.removed += sum(
            int(answer.get("purged", 0))
            for each, answer in zip(wrong, answers, strict=True)
            if each.kind != DisagreementKind.UNNAMED_WAITS
        )
        after = await read_states(store, ids)
        return {each for each in ids if _subject(before, each) != _subject(after, each)}

    async def _delete(self, sequences: Sequence[int]) -> None:
        """By sequence: a subject that is no entry may hold a wildcard, and a purge would take others with it."""
        store = self._store
        subject = f"{store.api}.STREAM.MSG.DELETE.{store.subjects.index_stream}"
        for sequence in sequences:
            which = {"seq": sequence}
            try:
                await store.requests.exchange([Request(subject, json.dumps({**which, "no_erase": True}).encode())])
            except StorageError:
                if await get_message(store, store.subjects.index_stream, which) is not None:
                    raise
            else:
                self.done.removed += 1


def _is_disowned(store: Store, seen: IndexedState | None, extra: Disagreement) -> bool:
    if seen is None or not seen.agrees(store.subjects, extra.subject):
        return True
    return bool(extra.kept) and seen.agrees(store.subjects, extra.kept)


def _subject(states: Mapping[str, IndexedState], invocation_id: str) -> str:
    seen = states.get(invocation_id)
    return "" if seen is None else seen.subject
