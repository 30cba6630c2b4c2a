"""Other workflows: ``ctx.send`` and ``ctx.spawn`` start one, ``ctx.invoke`` and a handle wait for its end."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.step_operation import StepOperation, describe_failure
from durablectl.engine.operations.wait_operation import WaitOperation, limit_us
from durablectl.engine.replay.wait_registry import WaitOutcome
from durablectl.errors import ConflictError
from durablectl.model.kinds import StepKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.retry_policy import TRANSPORT_RETRY
from durablectl.model.status import Status
from durablectl.storage.commands.wake import cancel_command_request
from durablectl.storage.transitions.start_writes import StartCommand, start_child

if TYPE_CHECKING:
    from datetime import timedelta

    from durablectl.engine.operations.step_operation import Failure
    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution, JournalEntry, Payload
    from durablectl.storage.connection.requests import Request

_T = TypeVar("_T")

NOT_AWAITED = "its parent no longer waits for it"


def child_id(state: RunState, number: int) -> str:
    """The id of the child that step ``number`` starts: the same on every replay, another after a retry dropped it."""
    execution = state.ownership.execution
    source = f"{state.invocation_id}:{execution.start_token}:{number}:{len(execution.history)}"
    text = hashlib.sha256(source.encode()).hexdigest()[:20]
    return "-".join(text[i : i + 5] for i in range(0, 20, 5))


class StartChild(StepOperation[str]):
    """The step that starts a child and does not wait for it; its result is the child's id."""

    __slots__ = ("_id", "_start")

    def __init__(self, run: Run, kind: str, start: StartCommand, given_id: str) -> None:
        super().__init__(run, kind, f"{kind}:{start.handler}")
        self._start = start
        self._id = given_id

    def encode_request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        self._id = self._id or child_id(self._run.state, number)
        return self._start.input, []

    async def attempt(self) -> str:
        state = self._run.state
        start = replace(self._start, created_at=state.clock.now())
        await start_child(state.store, start, self._id, state.ownership.execution)
        return self._id

    def failure(self, error: BaseException) -> Failure:
        return describe_failure(error, TRANSPORT_RETRY, is_final=isinstance(error, ConflictError))


class ChildResult(WaitOperation[_T]):
    """The end of a child workflow; with ``start``, its beginning too."""

    __slots__ = ("_child_id", "_start")

    def __init__(
        self,
        run: Run,
        handler: str,
        *,
        timeout_us: int | None,
        message_type: type[Any] | None,
        child_id: str = "",
        start: StartCommand | None = None,
    ) -> None:
        super().__init__(run, StepKind.CHILD, f"invoke:{handler}", timeout_us, message_type)
        self._child_id = child_id
        self._start = start

    def encode_request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        del number
        return (NO_PAYLOAD if self._start is None else self._start.input), []

    def new_entry(self, number: int) -> JournalEntry:
        entry = super().new_entry(number)
        entry.awaited_id = self._child_id or child_id(self._run.state, number)
        entry.request = self._request
        return entry

    async def prepare(self, entry: JournalEntry) -> None:
        if self._start is not None:
            state = self._run.state
            await start_child(state.store, self._start, entry.awaited_id, state.ownership.execution)

    def writes_when_cancelled(self, number: int, entry: JournalEntry | None) -> list[Request]:
        if self._start is None:
            return []
        awaited_id = child_id(self._run.state, number) if entry is None else entry.awaited_id
        return [cancel_command_request(self._run.state.store, awaited_id, self._start.handler, NOT_AWAITED)]

    def awaited_child(self, entry: JournalEntry) -> str:
        return entry.awaited_id

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        child = children.get(entry.awaited_id)
        if child is None:
            return self._timed_out(entry)
        if child.status == Status.COMPLETED:
            return WaitOutcome(child.output)
        if child.status == Status.CANCELLED:
            reason = f": {child.reason}" if child.reason else ""
            error = f"the workflow {child.invocation_id} was cancelled{reason}"
            return WaitOutcome(error=error, error_type="Cancelled child", reason_code=ReasonCode.CHILD_CANCELLED)
        return WaitOutcome(
            error=child.error or "failed",
            error_type=child.error_type or "WorkflowFailedError",
            reason_code=ReasonCode.CHILD_FAILED,
            error_class=child.error_class,
            error_details=child.error_details,
        )


class ChildHandle:
    """A child workflow that was spawned."""

    def __init__(self, run: Run, handler: str, child_id: str) -> None:
        self._run = run
        self._handler = handler
        self.id = child_id

    def result(
        self, response_type: type[_T] | None = None, *, timeout: float | timedelta | None = None
    ) -> ChildResult[_T]:
        """Await the child's output; StepError when it failed or was cancelled.

        When the awaiting task is cancelled, the child goes on: it can be awaited again.
        """
        return ChildResult(
            self._run,
            self._handler,
            timeout_us=limit_us(timeout, "handle.result"),
            message_type=response_type,
            child_id=self.id,
        )
