"""What a workflow was sent from outside, against what it asked for: answers to awakeables, and signals. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.kinds import StepKind
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from durablectl.model.records import Execution, JournalEntry

_ALIKE = 0.6
"""From this likeness on (0 to 1), one name may be the other, misspelt."""
_KINDS = frozenset({StepKind.AWAKEABLE, StepKind.SIGNAL})


class Target(NamedTuple):
    """Where an answer or a signal goes: ``kind`` of StepKind, and the id of the awakeable or the name of the signal."""

    kind: str
    name: str


class Unclaimed(NamedTuple):
    """An answer or a signal that the workflow has not received; ``error`` is that of a rejection."""

    kind: str
    name: str
    awakeable_id: str = ""
    data: Payload = NO_PAYLOAD
    error: str = ""
    sent_at: int = 0


def unclaimed_messages(execution: Execution, entries: Iterable[JournalEntry]) -> list[Unclaimed]:
    """What came in and is kept, the oldest first; ``entries`` are the whole journal. What has ended keeps nothing."""
    if is_terminal(execution.status):
        return []
    ended = [entry for entry in entries if entry.finished_at and entry.kind in _KINDS]
    answered = {entry.awaited_id for entry in ended if entry.kind == StepKind.AWAKEABLE}
    received = {entry.awaited_id for entry in ended if entry.kind == StepKind.SIGNAL}
    answers = [
        Unclaimed(StepKind.AWAKEABLE, each.name, each.awakeable_id, each.result, each.error, each.created_at)
        for each in execution.awakeables.values()
        if each.resolved and each.awakeable_id not in answered
    ]
    signals = [
        Unclaimed(StepKind.SIGNAL, each.name, "", each.data, "", each.sent_at)
        for each in execution.signals
        if str(each.number) not in received
    ]
    return sorted([*answers, *signals], key=lambda each: each.sent_at)


def looks_misdirected(
    execution: Execution, entries: Sequence[JournalEntry], target: Target, now: int
) -> Sequence[Target]:
    """What the workflow waits for instead of ``target``, the most alike first; nothing where ``target`` may be right.

    It may be right where the workflow has asked for it before, or waits for nothing of its kind yet: then it is early.
    """
    asked = set(_asked(execution, entries))
    if target in asked:
        return ()
    waits = _open_waits(execution, entries, now)
    if all(each.kind != target.kind for each in waits):
        waits = [each for each in waits if _are_alike(_short(each), _short(target))]
    return sorted(waits, key=lambda each: -_likeness(_short(each), _short(target)))


def _asked(execution: Execution, entries: Iterable[JournalEntry]) -> Iterator[Target]:
    """What it waits for, or has waited for before, also in steps that a retry has dropped."""
    for entry in (*entries, *(each for dropped in execution.history for each in dropped.entries)):
        if entry.kind in _KINDS:
            yield _target(entry.kind, entry.step_type, entry.awaited_id)
    for wait in execution.waits:
        if wait.kind in _KINDS:
            yield _target(wait.kind, wait.name, wait.awaited_id)


def _open_waits(execution: Execution, entries: Iterable[JournalEntry], now: int) -> list[Target]:
    """What it waits for, and only an answer or a signal ends that has not come yet; nothing while it runs."""
    if execution.status not in {Status.SUSPENDED, Status.PAUSED}:
        return []
    ended = {entry.step_number for entry in entries if entry.finished_at}
    waits = [
        _target(each.kind, each.name, each.awaited_id)
        for each in execution.waits
        if each.kind in _KINDS
        and each.step_number not in ended
        and not 0 < each.until <= now
        and not execution.has_result(each)
    ]
    return list(dict.fromkeys(waits))


def _target(kind: str, step_name: str, awaited_id: str) -> Target:
    return Target(kind, awaited_id if kind == StepKind.AWAKEABLE else step_name.partition(":")[2])


def _short(target: Target) -> str:
    """Without the id of the workflow, which the names of all its awakeables share."""
    return target.name.partition(".")[2] if target.kind == StepKind.AWAKEABLE else target.name


def _likeness(one: str, other: str) -> float:
    import difflib  # only what looks wrong needs it

    return difflib.SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _are_alike(one: str, other: str) -> bool:
    return _likeness(one, other) >= _ALIKE
