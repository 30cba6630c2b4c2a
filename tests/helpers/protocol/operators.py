"""What clients and operators do in the model; see protocol_programs.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.protocol.programs import FIRST, Programs
from helpers.protocol.world import TERMINAL
from helpers.protocol.writes import Goto, at, ended, merged

if TYPE_CHECKING:
    from helpers.protocol.world import State
    from helpers.protocol.writes import Program

AGAIN = Goto("", ())


class Protocol(Programs):
    """All programs. ``operate`` does several operations one after the other.

    Each is given what comes ``then``, and ends with it, or with itself where another writer was faster.
    """

    def operate(self, names: tuple[str, ...]) -> Program:
        first, *rest = names
        then = Goto("operate", (tuple(rest),)) if rest else None
        following = yield from getattr(self, first)(then)
        return Goto("operate", (names,)) if following is AGAIN else following

    def start(self, then: Goto | None) -> Program:
        """As in storage/starting.py."""
        yield ("enter", FIRST.marker)
        if self.broken == "the state of a start is stored before its command":
            yield ("write", FIRST, 0)
            yield ("publish", "start")
            return then
        yield ("publish", "start")
        if (yield ("write", FIRST, 0)) is None:
            yield ("load",)
            state = yield ("load",)
            if state is None or state.marker != FIRST.marker:
                yield ("leave", FIRST.marker)
        return then

    # control/steering.py

    def pause(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status in TERMINAL or state.cancel or state.status == "paused":
            return then
        is_running = state.status == "running" and bool(state.owner)
        owner = state.owner if is_running and (yield ("alive", state.owner)) else ""
        paused = state.enter("paused")._replace(owner=owner)
        yield from self.fallback_timer(paused)
        revision = yield ("write", paused, state.revision)
        if revision is None:
            return AGAIN
        return self.update_index(at(paused, revision), then=then)

    def resume(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status in TERMINAL:
            return then
        if state.status == "pending":
            yield ("publish", "wake")
        if state.status != "paused":
            return then
        in_flight = bool(state.owner) and (yield ("alive", state.owner))
        resumed = state.enter("running" if in_flight else "pending")
        if not in_flight:
            resumed = resumed._replace(owner="")
            yield from self.fallback_timer(resumed)
        revision = yield ("write", resumed, state.revision)
        if revision is None:
            return AGAIN
        last = () if in_flight else (("publish", "wake"),)
        return self.update_index(at(resumed, revision), last=last, then=then)

    def cancel(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status in TERMINAL:
            return then
        if state.cancel:
            return Goto("call_processor", (state.owner, then))
        if not (state.status == "running" or state.owner or state.compensations):
            return (yield from self.cancel_here(state, then))
        yield from self.fallback_timer(state)
        marked = state.enter("running")._replace(cancel=True)
        revision = yield ("write", marked, state.revision)
        if revision is None:
            return AGAIN
        return self.update_index(at(marked, revision), then=Goto("call_processor", (state.owner, then)))

    def cancel_now(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status in TERMINAL:
            return then
        return (yield from self.cancel_here(state, then))

    def cancel_here(self, state: State, then: Goto | None) -> Program:
        may_have_more = state.attempt > 0
        done = ended(state, "cancelled", state.inlined)
        done = done._replace(owner="", has_stream_journal=may_have_more, total=max(state.total, len(state.inlined)))
        yield from self.fallback_timer(state)
        revision = yield ("write", done, state.revision)
        if revision is None:
            return AGAIN
        done, entries = at(done, revision), state.inlined
        if may_have_more:
            done, entries = yield from self.inline_journal(done)
        return self.after_end(done, entries, then=then)

    def call_processor(self, owner: str, then: Goto | None) -> Program:
        if not (owner and (yield ("alive", owner))):
            yield ("publish", "wake")
        return then

    def fallback_timer(self, state: State) -> Program:
        if self.broken != "no timer before a write that needs a processor":
            yield ("timer", f"steer-{state.attempt + state.retries}")

    # control/again.py

    def retry(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status not in {"failed", "cancelled"}:
            return then
        entries = state.inlined
        if state.has_stream_journal:
            journal, _ = yield ("read",)
            entries = merged(entries, journal)
        half_done = state.noted or ()
        entries = tuple(entry for entry in entries if entry.number not in half_done)
        dropped = tuple(entry.number for entry in entries if entry.value.endswith("error"))
        retried = state
        if dropped or not half_done:
            retried = state._replace(retries=state.retries + 1, noted=dropped)
        revision = state.revision
        if state.has_stream_journal:
            revision = yield ("write", retried, revision)
            if revision is None:
                return AGAIN
            for number in sorted({*half_done, *dropped}):
                yield ("purge", number, revision)
        pending = retried.enter("pending")._replace(
            inlined=tuple(entry for entry in state.inlined if entry.number not in {*half_done, *dropped}),
            owner="",
            output=(),
            cancel=False,
            has_stream_journal=False,
            compensations=state.attempt > 0,
        )
        yield from self.fallback_timer(pending)
        written = yield ("write", pending, revision)
        if written is None:
            return AGAIN
        return self.update_index(at(pending, written), (("publish", "wake"),), then=then)

    # control/answers.py

    def resolve(self, then: Goto | None) -> Program:
        state = yield ("load",)
        if state is None or state.status in TERMINAL or state.answered:
            return then
        is_suspended = state.status == "suspended"
        if is_suspended:
            yield from self.fallback_timer(state)
        if (yield ("write", state._replace(answered=True), state.revision)) is None:
            return AGAIN
        if is_suspended:
            yield ("publish", "wake")
        return then
