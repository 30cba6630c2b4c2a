"""The kinds of waits: sleep, awakeable, signal, child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.child import child_id
from durablectl.engine.replay.wait_registry import CHILD, Outcome
from durablectl.model.records import JournalEntry, PendingWait
from durablectl.model.status import Status
from durablectl.model.values import decode_value
from durablectl.storage.transitions.start_writes import StartCommand, start_child

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution

_TIMED_OUT = "TimeoutError"


class _Base:
    kind = ""

    def __init__(self, step_type: str, microseconds: int, message_type: type[Any] | None = None) -> None:
        self.step_type = step_type
        self._microseconds = microseconds
        self._message_type = message_type

    def entry(self, run: Run, number: int) -> JournalEntry:
        now = run.clock.now()
        until = now + self._microseconds if self._microseconds else 0
        return JournalEntry(number, self.step_type, self.kind, started_at=now, until=until)

    async def prepare(self, run: Run, entry: JournalEntry) -> None:
        pass

    def waiting(self, entry: JournalEntry) -> PendingWait:
        return PendingWait(self.kind, self.step_type, entry.step_number, entry.until, awaited_id=entry.awaited_id)

    def value(self, entry: JournalEntry) -> Any:
        return decode_value(entry.response, self._message_type)

    def _timed_out(self, run: Run, entry: JournalEntry) -> Outcome | None:
        if not entry.until or run.clock.now() < entry.until:
            return None
        return Outcome(error=f"nothing came within {self._microseconds / 1_000_000:g} s", error_type=_TIMED_OUT)


class Sleep(_Base):
    """A timer."""

    kind = "sleep"

    def poll(self, run: Run, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        del children
        return Outcome() if run.clock.now() >= entry.until else None


class AwakeableWait(_Base):
    """An answer that an outside system gives under an id."""

    kind = "awakeable"

    def __init__(self, name: str, awakeable_id: str, microseconds: int, message_type: type[Any] | None) -> None:
        super().__init__(f"awakeable:{name}", microseconds, message_type)
        self._id = awakeable_id

    def entry(self, run: Run, number: int) -> JournalEntry:
        entry = super().entry(run, number)
        entry.awaited_id = self._id
        return entry

    def poll(self, run: Run, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        del children
        answer = run.ownership.execution.awakeables.get(entry.awaited_id)
        if answer is None or not answer.resolved:
            return self._timed_out(run, entry)
        if answer.error:
            return Outcome(error=answer.error, error_type="Rejected")
        return Outcome(answer.result)


class SignalWait(_Base):
    """The next signal of a name that this workflow has not received yet."""

    kind = "signal"

    def __init__(self, name: str, microseconds: int, message_type: type[Any] | None) -> None:
        super().__init__(f"signal:{name}", microseconds, message_type)
        self._name = name

    def poll(self, run: Run, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        del children
        for signal in run.ownership.execution.signals:
            if signal.name == self._name and signal.number not in run.received_signals:
                run.received_signals.add(signal.number)
                return Outcome(signal.data, awaited_id=str(signal.number))
        return self._timed_out(run, entry)


class ChildWait(_Base):
    """The end of a child workflow; with ``start``, its beginning too."""

    kind = CHILD

    def __init__(
        self, handler: str, child_id: str, start: StartCommand | None, microseconds: int, message_type: type[Any] | None
    ) -> None:
        super().__init__(f"invoke:{handler}", microseconds, message_type)
        self._child_id = child_id
        self._start = start

    def entry(self, run: Run, number: int) -> JournalEntry:
        entry = super().entry(run, number)
        entry.awaited_id = self._child_id or child_id(run, number)
        if self._start is not None:
            entry.request = self._start.input
        return entry

    async def prepare(self, run: Run, entry: JournalEntry) -> None:
        if self._start is not None:
            await start_child(run.store, self._start, entry.awaited_id, run.ownership.execution)

    def poll(self, run: Run, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        child = children.get(entry.awaited_id)
        if child is None:
            return self._timed_out(run, entry)
        if child.status == Status.COMPLETED:
            return Outcome(child.output)
        if child.status == Status.CANCELLED:
            reason = f": {child.reason}" if child.reason else ""
            return Outcome(
                error=f"the workflow {child.invocation_id} was cancelled{reason}", error_type="Cancelled child"
            )
        return Outcome(error=child.error or "failed", error_type=child.error_type or "WorkflowFailedError")
