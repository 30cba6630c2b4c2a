"""The writes that follow a state, in the model; see protocol_programs.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.protocol.world import EVERY, Marker

if TYPE_CHECKING:
    from collections.abc import Generator

    from helpers.protocol.world import Entry, Operation, State

    Program = Generator[Operation, Any, Any]


class Goto(NamedTuple):
    """The program that an actor goes on with; what it remembers is in the arguments only."""

    program: str
    arguments: tuple[Any, ...]


class Writes:
    """``handler`` is its steps in order: "step", "fail" (until it is retried), or "wait" (for an answer)."""

    def __init__(self, handler: tuple[str, ...], broken: str = "") -> None:
        self.handler = handler
        self.broken = broken

    # storage/index.py, storage/ending.py

    def each(self, operations: tuple[Operation, ...], then: Goto | None) -> Program:
        """These, one after the other; nothing else is remembered meanwhile."""
        (name, *arguments), *rest = operations
        if name == "look again":
            (marker,) = arguments
            state = yield ("load",)
            if state is None or state.marker != marker:
                rest.insert(0, ("leave", marker))
        else:
            answer = yield operations[0]
            again = ("look again", *arguments)
            if (
                name == "enter"
                and not answer
                and again in rest
                and self.broken != "an index entry that was there is removed"
            ):
                rest.remove(again)
        return Goto("each", (tuple(rest), then)) if rest else then

    def update_index(
        self,
        state: State,
        others: tuple[Operation, ...] = (),
        *,
        first: tuple[Operation, ...] = (),
        last: tuple[Operation, ...] = (),
        then: Goto | None = None,
    ) -> Goto:
        operations = (*first, *self.index_updates(state), *others)
        if self.broken != "the index is not looked at again":
            operations = (*operations, ("look again", state.marker))
        return Goto("each", ((*operations, *last), then))

    def index_updates(self, state: State) -> tuple[Operation, ...]:
        return (("enter", state.marker), *(("leave", marker) for marker in state.left if marker != state.marker))

    def inline_journal(self, state: State) -> Program:
        """The journal of what an operator has ended becomes part of the record."""
        journal, _ = yield ("read",)
        entries = merged(state.inlined, journal)
        folded = state._replace(inlined=entries, has_stream_journal=False, total=max(state.total, len(entries)))
        if (yield ("write", folded, state.revision)) is not None:
            state = state._replace(has_stream_journal=False)
        return state, entries

    def after_end(
        self,
        state: State,
        entries: tuple[Entry, ...],
        last: tuple[Operation, ...] = (),
        then: Goto | None = None,
        unstored: int = -1,
    ) -> Goto:
        writes: list[Operation] = []
        if not state.has_stream_journal:
            length = max((entry.number + 1 for entry in entries), default=0)
            limit = None if self.broken == "a purge without a limit" else state.revision
            numbers = [number for number in range(max(length, state.total)) if number != unstored]
            writes += [("purge", number, limit) for number in (numbers if len(numbers) < 2 else [EVERY])]
        if any(self.handler[entry.number] == "wait" for entry in entries):
            writes.append(("stop_timer", f"wake-{state.attempt}"))
        if state.status == "completed":
            order = (
                (*self.index_updates(state), *writes)
                if self.broken == "the index moves first"
                else (*writes, *self.index_updates(state))
            )
            return Goto("each", ((*order, *last), then))
        return self.update_index(state, first=tuple(writes), last=last, then=then)


def at(state: State, revision: int) -> State:
    marker = Marker(state.marker.group, revision) if state.marker.since < 0 else state.marker
    return state._replace(revision=revision, marker=marker)


def begun(state: State) -> State:
    """As ``Execution.begin``: the index still has as pending what has just been claimed."""
    return state._replace(status="running") if state.marker.group == "pending" else state.enter("running")


def left(state: State, journal: tuple[Entry, ...]) -> State:
    total = max(state.total, len(journal))
    return state._replace(owner="", inlined=(), compensations=False, total=total)


def ended(state: State, status: str, folded: tuple[Entry, ...], output: tuple[str, ...] = ()) -> State:
    entered = state.enter(status)
    return entered._replace(
        inlined=folded, has_stream_journal=False, noted=None, cancel=False, compensations=False, output=output
    )


def merged(first: tuple[Entry, ...], second: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple(sorted({entry.number: entry for entry in (*first, *second)}.values()))
