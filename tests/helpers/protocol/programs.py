"""What processors, operators and clients do, one server operation after the other: the protocol as generators.

Each mirrors a function of durablectl and names it. A program yields operations of ``protocol_world`` and gets their
answers; it ends with None or with the program that it goes on as. ``broken`` names rules that it does not keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from helpers.protocol.world import TERMINAL, Command, Entry, State
from helpers.protocol.writes import Goto, Writes, at, begun, ended, left

if TYPE_CHECKING:
    from helpers.protocol.world import Operation
    from helpers.protocol.writes import Program

FIRST = State()
ADOPTED = Command(0, "wake")
LOOK_AGAIN = 2
"""How often a processor looks for the state of a start before it writes that itself."""


class Claim(NamedTuple):
    """What a processor knows of the invocation that it owns."""

    me: str
    command: Command
    state: State
    crashed: bool = False
    journal: tuple[Entry, ...] = ()
    known: frozenset[int] = frozenset()
    held: int = -1

    def entry(self, number: int) -> Entry | None:
        return next((entry for entry in self.journal if entry.number == number), None)

    def recorded(self, entry: Entry) -> Claim:
        return self._replace(journal=tuple(sorted([*(e for e in self.journal if e.number != entry.number), entry])))


class Programs(Writes):
    """``handler`` is its steps in order: "step", "fail" (until it is retried), or "wait" (for an answer)."""

    # engine/claim.py

    def claim(self, me: str, command: Command) -> Program:
        early = (yield ("read",)) if self.broken == "the journal is read before the claim" else None
        state = yield ("load",)
        for _ in range(LOOK_AGAIN if command.kind == "start" and not command.again else 0):
            state = state or (yield ("load",))
        if state is None:
            if command.kind != "start":
                return (yield from self.done(command))
            yield ("enter", FIRST.marker)
            state = FIRST
        elif not (yield from self.may_claim(me, state, command)):
            if (command.again or command.kind == "wake") and self.broken != "a redelivery tidies nothing":
                return (yield from self.tidy(state, self.acknowledgement(command)))
            return (yield from self.done(command))
        was_running = state.status == "running"
        taken = begun(state)._replace(owner=me, attempt=state.attempt + 1, command=command.sequence)
        blind = self.broken == "the claim is no compare-and-set"
        revision = yield ("write", taken, None if blind else state.revision)
        if revision is None:
            if state.revision == 0:
                yield ("load",)
            return Goto("claim", (me, command))
        taken = at(taken, revision)
        claim = Claim(me, command, taken, was_running and state.owner not in {"", me})
        then = Goto("entries", (claim, taken.attempt > 1))
        if early is not None:
            then = Goto("advance", (claim._replace(crashed=False, journal=early[0], known=early[1]),))
        if was_running or taken.marker != state.marker:
            return self.update_index(taken, then=then)
        return then

    def may_claim(self, me: str, state: State, command: Command) -> Program:
        if state.status == "pending":
            return True
        if state.status == "suspended":
            return state.answered
        if state.status == "running" and state.owner == me:
            return True
        if state.status == "running" and command.again and command.sequence == state.command:
            return True
        if state.status == "running" or (state.status == "paused" and state.owner):
            is_alive = bool(state.owner) and (yield ("alive", state.owner))
            return state.status == "running" and not is_alive
        return False

    def tidy(self, state: State, last: tuple[Operation, ...] = (), then: Goto | None = None) -> Program:
        if state.status not in TERMINAL:
            return self.update_index(state, last=last, then=then)
        entries = state.inlined
        if state.has_stream_journal:
            state, entries = yield from self.inline_journal(state)
        return self.after_end(state, entries, last)

    # engine/failover.py

    def look(self, me: str, dead: frozenset[str]) -> Program:
        if not (yield ("members",)):
            return None
        state = yield ("load",)
        if state is None:
            return None
        was_dropped = state.status == "pending" and state.attempt > 0
        is_orphan = was_dropped or (state.status == "running" and state.owner in dead)
        then = Goto("claim", (me, ADOPTED)) if is_orphan else None
        if state.marker.group not in {"pending", "running"}:
            return (yield from self.tidy(state, then=then))
        return then

    # engine/worker.py

    def entries(self, claim: Claim, was_read: bool) -> Program:
        state = claim.state
        journal: tuple[Entry, ...] = ()
        known: frozenset[int] = frozenset()
        if was_read:
            journal, known = yield ("read",)
            if self.broken != "no look at the state after reading the journal":
                state = yield from self.refresh(claim, state)
            if state is None:
                return (yield from self.done(claim.command))
        claim = claim._replace(state=state, journal=journal, known=known)
        inside = {entry.number for entry in state.inlined}
        for entry in (*journal, *(entry for entry in state.inlined if claim.entry(entry.number) is None)):
            is_kept = (
                claim.entry(entry.number) and self.broken == "what lies in the record and the journal is not rewritten"
            )
            if entry.number in inside and not is_kept:
                claim = yield from self.append(claim, entry)
                if claim is None:
                    return None
        if claim.crashed:
            # engine/suspects.py counts the crash.
            state = yield from self.rewrite(claim, claim.state)
            if state is None:
                return (yield from self.done(claim.command))
        return Goto("advance", (claim._replace(state=state if claim.crashed else claim.state, crashed=False),))

    def advance(self, claim: Claim) -> Program:
        """The handler up to its next entry, or its end: engine/run.py, engine/stepping.py, engine/waiting.py."""
        numbers = range(len(self.handler))
        number = next((n for n in numbers if not (e := claim.entry(n)) or not e.done), len(self.handler))
        state = claim.state
        if state.cancel or number == len(self.handler) or any(e.value.endswith("error") for e in claim.journal):
            return Goto("finish", (claim,))
        if state.status == "paused" and self.broken != "the pause is not obeyed":
            return Goto("let_go", (claim,))
        kind, opened = self.handler[number], claim.entry(number)
        if kind == "wait":
            if opened is None:
                entry = Entry(number, "", done=False)
            elif state.answered:
                entry = Entry(number, "answer")
            else:
                return Goto("suspend", (claim,))
        else:
            yield ("run", number, claim.known)
            fails = kind == "fail" and not state.retries
            entry = Entry(number, f"{claim.me} {state.attempt}" + (" error" if fails else ""))
            if fails or number == len(self.handler) - 1:
                # engine/recording.py: the end takes the last result along.
                return Goto("finish", (claim.recorded(entry)._replace(held=number),))
        claim = yield from self.append(claim, entry)
        return None if claim is None else Goto("advance", (claim,))

    # engine/ownership.py

    def append(self, claim: Claim, entry: Entry) -> Program:
        """Journal it; None when fenced out, the command is then done with."""
        unfenced = self.broken == "an append without the fence"
        while not (yield ("append", entry, None if unfenced else claim.state.revision)):
            state = yield from self.reload(claim)
            if state is None:
                yield from self.done(claim.command)
                return None
            claim = claim._replace(state=state)
        return claim.recorded(entry)

    def reload(self, claim: Claim) -> Program:
        state = yield ("load",)
        is_ours = state is not None and (state.owner, state.attempt) == (claim.me, claim.state.attempt)
        return state if is_ours and state.status in {"running", "paused"} else None

    def refresh(self, claim: Claim, state: State) -> Program:
        seen = yield ("load",)
        if seen is not None and seen.revision <= state.revision:
            return state
        return (yield from self.reload(claim))

    def rewrite(self, claim: Claim, state: State) -> Program:
        """A write that changes nothing that matters here; None when fenced out."""
        while True:
            written = state._replace(inlined=())
            revision = yield ("write", written, state.revision)
            if revision is not None:
                return at(written, revision)
            state = yield from self.reload(claim)
            if state is None:
                return None

    # engine/finish.py

    def finish(self, claim: Claim) -> Program:  # noqa: C901 - as branched as what it mirrors
        """The handler has ended, as engine/worker.py sees it."""
        status = "completed"
        if claim.state.cancel:
            status = "cancelled"
        elif any(entry.value.endswith("error") for entry in claim.journal):
            status = "failed"
        if self.broken == "the command is acknowledged before the end is stored":
            yield from self.done(claim.command)
        if self.broken == "the journal is purged before the end is stored":
            for entry in claim.journal:
                yield ("purge", entry.number, None)
        state = claim.state
        while True:
            was_cancelled = state.cancel and self.broken != "an end ignores a cancellation"
            if status != "cancelled" and (was_cancelled or state.status == "paused"):
                # engine/finish.py: what is held is recorded after all.
                claim = yield from self.release(claim._replace(state=state))
                if claim is None:
                    return None
                return Goto("entries", (claim, True)) if was_cancelled else Goto("let_go", (claim,))
            output = tuple(entry.value for entry in claim.journal) if status == "completed" else ()
            done = ended(state, status, claim.journal, output)._replace(total=len(claim.journal))
            if self.broken == "the end does not hold the journal":
                done = done._replace(inlined=())
            revision = yield ("write", done, state.revision)
            if revision is not None:
                break
            state = yield from self.reload(claim)
            if state is None:
                return (yield from self.done(claim.command))
        last = self.acknowledgement(claim.command)
        return self.after_end(at(done, revision), claim.journal, last, unstored=claim.held)

    def release(self, claim: Claim) -> Program:
        """Journal what is held, if anything; None when fenced out."""
        entry = claim.entry(claim.held)
        return claim if entry is None else (yield from self.append(claim._replace(held=-1), entry))

    def suspend(self, claim: Claim) -> Program:
        state = left(claim.state, claim.journal).enter("suspended")
        revision = yield ("write", state, claim.state.revision)
        if revision is None:
            standing = yield from self.reload(claim)
            if standing is None:
                return (yield from self.done(claim.command))
            if self.broken == "an answer between look and suspend is missed":
                return Goto("suspend", (claim._replace(state=standing),))
            return Goto("entries", (claim._replace(state=standing), True))
        return self.update_index(at(state, revision), last=self.acknowledgement(claim.command))

    def let_go(self, claim: Claim) -> Program:
        if claim.state.status != "paused":
            return Goto("entries", (claim, True))
        paused = left(claim.state, claim.journal)
        revision = yield ("write", paused, claim.state.revision)
        if revision is None:
            state = yield from self.reload(claim)
            if state is not None:
                return Goto("let_go", (claim._replace(state=state),))
            return (yield from self.done(claim.command))
        return self.update_index(at(paused, revision), last=self.acknowledgement(claim.command))

    def acknowledgement(self, command: Command) -> tuple[Operation, ...]:
        return (("ack", command.sequence),) if command.sequence else ()

    def done(self, command: Command) -> Program:
        yield from self.acknowledgement(command)
