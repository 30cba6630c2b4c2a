"""The stored world of one invocation, as the model of the protocol sees it, and what one request does to it.

Each operation is atomic: it takes a world and gives the next one and an answer. Revisions count writes of the state.
A ``ViolationError`` is raised where an operation breaks what docs/guarantees.md promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

TERMINAL = frozenset({"completed", "failed", "cancelled"})
NEW = -1
"""Stands for the revision of the write itself, where an index entry is entered by it."""
EVERY = -1
"""Stands for the numbers of all journal entries."""


class ViolationError(AssertionError):
    """A promise that does not hold; the text is a short name for it."""


class Entry(NamedTuple):
    """A journal entry; ``value`` tells who ran the step, ``at`` under which revision it was stored."""

    number: int
    value: str
    done: bool = True
    at: int = 0


class Marker(NamedTuple):
    """An index entry: the status, and the revision that entered it."""

    group: str
    since: int


class Command(NamedTuple):
    """``holder`` is whom it was delivered to; ``again`` whether more than once."""

    sequence: int
    kind: str
    holder: str = ""
    again: bool = False


class State(NamedTuple):
    """The state record."""

    status: str = "pending"
    owner: str = ""
    attempt: int = 0
    marker: Marker = Marker("pending", 0)
    left: tuple[Marker, ...] = ()
    cancel: bool = False
    answered: bool = False
    compensations: bool = False
    command: int = 0
    inlined: tuple[Entry, ...] = ()
    has_stream_journal: bool = False
    total: int = 0
    retries: int = 0
    noted: tuple[int, ...] | None = None
    output: tuple[str, ...] = ()
    revision: int = 0

    def enter(self, status: str) -> State:
        """As ``Execution.enter``: what runs and goes on running keeps its index entry."""
        if status == self.marker.group == "running":
            return self._replace(status=status)
        left = (*self.left, self.marker)[-4:]
        return self._replace(status=status, marker=Marker(status, NEW), left=left)


class World(NamedTuple):
    """All that is stored, and three facts that only the checks read: ``recorded``, ``executed``, ``went_on``."""

    state: State | None = None
    writes: int = 0
    journal: tuple[Entry, ...] = ()
    index: frozenset[Marker] = frozenset()  # type: ignore[assignment]  # shadows tuple.index
    commands: tuple[Command, ...] = ()
    sent: int = 0
    timers: frozenset[str] = frozenset()
    leases: frozenset[str] = frozenset()
    recorded: tuple[Entry, ...] = ()
    executed: frozenset[int] = frozenset()
    went_on: bool = False


Answer = Any
Operation = tuple[Any, ...]


def apply(world: World, actor: str, operation: Operation) -> tuple[World, Answer]:
    name, *arguments = operation
    return OPERATIONS[name](world, actor, *arguments)


def load(world: World, _: str) -> tuple[World, Answer]:
    return world, world.state


def write(world: World, _: str, state: State, expected: int | None) -> tuple[World, Answer]:
    """Compare-and-set of the state; the new revision or None. ``expected`` None is a blind write."""
    standing = world.state
    if expected is not None and expected != (standing.revision if standing else 0):
        return world, None
    revision = world.writes + 1
    marker = Marker(state.marker.group, revision) if state.marker.since == NEW else state.marker
    written = state._replace(revision=revision, marker=marker)
    recorded = world.recorded
    if standing is not None and written.retries > standing.retries:
        recorded = tuple(entry for entry in recorded if not entry.value.endswith("error"))
    elif standing is not None and standing.status not in TERMINAL and written.status in TERMINAL:
        for entry in written.inlined:
            recorded = _record(recorded, entry)
    if standing is not None:
        _check_end(world._replace(recorded=recorded), standing, written)
    went_on = world.went_on and written.status == "paused"
    after = world._replace(state=written, writes=revision, recorded=recorded, went_on=went_on)
    _check_kept(after)
    return after, revision


def append(world: World, actor: str, entry: Entry, owned: int | None) -> tuple[World, Answer]:
    """One journal entry under the condition that the state stands at ``owned``; None is without the fence."""
    state = world.state
    if owned is not None and (state is None or state.revision != owned):
        return world, False
    if state is None or state.owner != actor or state.status not in {"running", "paused"}:
        raise ViolationError("a stale append was accepted")
    stored = entry._replace(at=state.revision)
    return world._replace(
        journal=_with(world.journal, stored),
        recorded=_record(world.recorded, entry),
        went_on=state.status == "paused",
    ), True


def read(world: World, _: str) -> tuple[World, Answer]:
    """The journal, and for the checks what was recorded by then."""
    known = frozenset(entry.number for entry in world.recorded if entry.done)
    return world, (tuple(entry._replace(at=0) for entry in world.journal), known)


def run(world: World, _: str, number: int, known: frozenset[int]) -> tuple[World, Answer]:
    """The effect of a step. ``known`` is what had been recorded when its processor read the journal."""
    if number in known:
        raise ViolationError("a recorded step was executed again")
    if world.went_on and world.state is not None and world.state.status == "paused":
        raise ViolationError("a step began although the pause had been seen")
    return world._replace(executed=world.executed | {number}), None


def enter(world: World, _: str, marker: Marker) -> tuple[World, Answer]:
    return world._replace(index=world.index | {marker}), marker not in world.index


def leave(world: World, _: str, marker: Marker) -> tuple[World, Answer]:
    return world._replace(index=world.index - {marker}), None


def purge(world: World, _: str, number: int, before: int | None) -> tuple[World, Answer]:
    """Removal of a journal entry, or of EVERY, that is older than a revision; None is without that limit."""
    kept = tuple(e for e in world.journal if number not in {e.number, EVERY} or (before is not None and e.at >= before))
    after = world._replace(journal=kept)
    _check_kept(after)
    return after, None


def publish(world: World, _: str, kind: str) -> tuple[World, Answer]:
    sequence = world.sent + 1
    return world._replace(sent=sequence, commands=(*world.commands, Command(sequence, kind))), None


def timer(world: World, _: str, name: str) -> tuple[World, Answer]:
    return world._replace(timers=world.timers | {name}), None


def stop_timer(world: World, _: str, name: str) -> tuple[World, Answer]:
    return world._replace(timers=world.timers - {name}), None


def alive(world: World, _: str, processor: str) -> tuple[World, Answer]:
    return world, processor in world.leases


def members(world: World, _: str) -> tuple[World, Answer]:
    """Whether the index has the invocation as pending or running."""
    return world, any(marker.group in {"pending", "running"} for marker in world.index)


def ack(world: World, _: str, sequence: int) -> tuple[World, Answer]:
    return world._replace(commands=tuple(c for c in world.commands if c.sequence != sequence)), None


OPERATIONS: dict[str, Callable[..., tuple[World, Answer]]] = {
    operation.__name__: operation
    for operation in (
        load, write, append, read, run, enter, leave, purge, publish, timer, stop_timer, alive, members, ack
    )
}  # fmt: skip


def _record(recorded: tuple[Entry, ...], entry: Entry) -> tuple[Entry, ...]:
    before = next((known for known in recorded if known.number == entry.number), None)
    if before is not None and before.done and before[:3] != entry[:3]:
        raise ViolationError("a step was recorded twice")
    return _with(recorded, entry._replace(at=0))


def _with(entries: tuple[Entry, ...], entry: Entry) -> tuple[Entry, ...]:
    return tuple(sorted([*(e for e in entries if e.number != entry.number), entry]))


def _check_end(world: World, standing: State, written: State) -> None:
    if standing.status in TERMINAL:
        is_retry = written.status == "pending" and written.noted is not None
        if not is_retry and (written.status, written.output) != (standing.status, standing.output):
            raise ViolationError("a terminal state changed")
    elif written.status == "completed":
        if standing.cancel:
            raise ViolationError("a cancellation was lost")
        if written.output != tuple(entry.value for entry in world.recorded):
            raise ViolationError("the output is not that of the recorded steps")
        if not {number for number, *_ in world.recorded} <= world.executed | _answers(world):
            raise ViolationError("a step was recorded that never ran")


def _answers(world: World) -> set[int]:
    return {entry.number for entry in world.recorded if entry.value == "answer"}


def _check_kept(world: World) -> None:
    stored = {entry[:3] for entry in (*world.journal, *(world.state.inlined if world.state else ()))}
    if any(entry[:3] not in stored for entry in world.recorded):
        raise ViolationError("a recorded step was lost")


def find_leftover(world: World, *, may_leave: bool = False) -> str:  # noqa: PLR0911 - one line for each thing that may be wrong
    """What is wrong with a world in which nothing happens any more; empty when all is well.

    With ``may_leave`` an index entry that the state disowns may be left over.
    """
    state = world.state
    if state is None:
        return "" if not world.commands else "a command was lost"
    if world.commands or world.timers:
        return "a command or a timer is left for ever"
    if state.status in {"running", "pending"}:
        return "a workflow was lost"
    if state.status == "suspended" and state.answered:
        return "an answer was lost"
    if state.marker not in world.index or (len(world.index) > 1 and not may_leave):
        return "the index disagrees"
    if state.status in TERMINAL and (world.journal or state.has_stream_journal):
        return "a journal was left behind"
    return ""
