"""How a run leaves its invocation: ended, suspended, paused, or handed back. Dying anywhere here can be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from durablectl.engine.operations.operation_registry import WAIT_OPERATIONS
from durablectl.engine.replay.control_flow import Paused, StateChanged
from durablectl.engine.worker.wake_conditions import EARLY_US, has_child_ended, wake_times
from durablectl.errors import PayloadTooLargeError, StepError, WorkflowTimeoutError
from durablectl.model.codec import encode_entry
from durablectl.model.reason_codes import COMPENSATION_FAILED, ReasonCode
from durablectl.model.records import NO_PAYLOAD, FailedStep, named_waits
from durablectl.model.status import Status
from durablectl.model.termination import INLINE_LIMIT_BYTES, end_execution, interrupted_children
from durablectl.model.text import class_of, leaves_of, message_of, storable, type_of
from durablectl.model.tracebacks import author_traceback
from durablectl.model.values import encode_details
from durablectl.storage.commands.wake import timer_removal_request, wake_request, wake_timer_name, wake_timer_request
from durablectl.storage.connection.crash_points import crash_at_caller
from durablectl.storage.index import index_entries
from durablectl.storage.transitions.end_writes import clean_up_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, Payload, PendingWait, StepMismatch


class _Failure(NamedTuple):
    """What an invocation failed with, or the compensations of one that is cancelled."""

    error: str = ""
    error_type: str = ""
    trace: str = ""
    reason_code: str = ""
    step: FailedStep | None = None
    error_class: str = ""
    details: bytes = b""

    def write_to(self, execution: Execution) -> None:
        execution.error, execution.error_type, execution.traceback = self.error, self.error_type, self.trace
        execution.error_class, execution.error_details = self.error_class, self.details
        if self.reason_code:
            execution.reason_code, execution.failed_step = self.reason_code, self.step


_NONE = _Failure()


async def complete(run: Run, output: Payload) -> Execution:
    """End as completed; as failed when the server cannot hold the output."""
    try:
        return await _end(run, Status.COMPLETED, output=output)
    except PayloadTooLargeError as error:
        message = f"The output of {len(output.data):,} bytes cannot be stored: {error.message}"
        failure = _Failure(message, type(error).__name__, reason_code=ReasonCode.TOO_LARGE)
        return await _end_or_shorten(run, Status.FAILED, failure)


async def fail(run: Run, error: BaseException) -> Execution:
    """End as failed, with the message and the traceback of what the handler raised."""
    limit = run.state.store.record_headroom // 8
    trace = storable(author_traceback(error, only_app=True), None)
    code, step = reason_of(error)
    failure = _Failure(
        message_of(error, limit),
        type_of(error),
        trace[-2 * limit :],
        code,
        step,
        class_of(error),
        encode_details(error, limit),
    )
    return await _end_or_shorten(run, Status.FAILED, failure)


def reason_of(error: BaseException) -> tuple[ReasonCode, FailedStep | None]:
    """Why a handler failed that raised ``error``: the step because of which it was raised, if there is one."""
    leaves = leaves_of(error)
    if isinstance(error, WorkflowTimeoutError):
        return ReasonCode.TIMED_OUT, None
    if any(isinstance(leaf, PayloadTooLargeError) for leaf in leaves):
        return ReasonCode.TOO_LARGE, None
    if len(leaves) == 1 and _is_of_step(leaf := leaves[0]):
        at = len(leaf.message) - len(leaf.error)
        return ReasonCode.STEP_FAILED, FailedStep(leaf.step_number, leaf.step_type, at)
    seen: set[int] = set()
    while leaves:
        failed = [leaf for leaf in leaves if _is_of_step(leaf)]
        if failed:
            first = min(failed, key=lambda leaf: leaf.step_number)
            return ReasonCode.STEP_FAILED, FailedStep(first.step_number, first.step_type)
        seen.update(map(id, leaves))
        causes = [cause for leaf in leaves if (cause := _cause(leaf)) is not None]
        leaves = [leaf for cause in causes for leaf in leaves_of(cause) if id(leaf) not in seen]
    return ReasonCode.CODE_FAILED, None


def _is_of_step(error: BaseException) -> TypeGuard[StepError]:
    """Whether the engine made it of a step's entry: a class of the app may derive from StepError, too."""
    return isinstance(error, StepError) and getattr(error, "step_number", -1) >= 0


def _cause(error: BaseException) -> BaseException | None:
    """The error that a traceback shows before this one."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def cancel(run: Run, error: str = "") -> Execution:
    """End as cancelled; ``error`` tells of a compensation that failed."""
    return await _end_or_shorten(run, Status.CANCELLED, _Failure(error, COMPENSATION_FAILED) if error else _NONE)


async def _end_or_shorten(run: Run, status: Status, failure: _Failure) -> Execution:
    """Without the workflow's state and what it was answered, if the record has no room for them."""
    try:
        return await _end(run, status, failure)
    except PayloadTooLargeError:
        run.state.workflow_state = run.state.stored_workflow_state = {}
        run.state.ownership.execution.awakeables = {}
        return await _end(run, status, failure)


async def suspend(run: Run, waits: list[PendingWait], known_revision: int) -> Execution:
    """Store what is waited for, and free slot and memory. StateChanged when an answer has come in meanwhile.

    ``known_revision`` is that of the state in which nothing of it had come in. The timer is set first: dying after it
    costs a needless wake. What comes in before the state is written changes the state, so that the write fails; a child
    that ends meanwhile, or a timer that fires, is looked for afterwards.
    """
    state = run.state
    known = state.ownership.execution
    times = wake_times(waits[:1], run.deadline_us)

    def change(execution: Execution) -> None:
        if state.ownership.revision != known_revision:
            raise StateChanged
        _leave(run, execution, Status.SUSPENDED)
        execution.suspend(waits)
        execution.deadline = run.deadline_us
        execution.timer_attempt = state.attempt if times else 0
        for operation in WAIT_OPERATIONS.values():
            operation.drop_received(state, execution)

    await index_entries.add_waits(state.store, known.handler, named_waits(known.handler, waits))
    if times:
        await state.store.requests.exchange(
            [wake_timer_request(state.store, known, min(times), wake_timer_name(state.attempt))]
        )
    execution = await _write(run, change)
    earlier = known.timer_attempt
    await index_entries.update_entry(
        state.store,
        execution,
        [timer_removal_request(state.store, state.invocation_id, wake_timer_name(earlier))] if earlier else [],
    )
    has_ended = await has_child_ended(state.store, waits, state.invocation_id, state.ownership.revision)
    has_fired = bool(times) and min(times) <= state.clock.now() + EARLY_US
    if has_fired or has_ended:
        await state.store.requests.exchange([wake_request(state.store, execution)])
    return execution


async def pause(run: Run, code: ReasonCode, reason: str, mismatch: StepMismatch | None = None) -> Execution:
    """Stop for the operator; the journal stays where it is."""

    def change(execution: Execution) -> None:
        _leave(run, execution, Status.PAUSED)
        execution.set_reason(code, reason, mismatch)
        execution.waiting_for = None

    execution = await _write(run, change)
    await index_entries.update_entry(run.state.store, execution)
    return execution


async def release_paused(run: Run) -> None:
    """Leave an invocation that an operator paused: the step in flight has ended.

    Raises StateChanged when it was resumed meanwhile.

    The operator, who enters it in the index, may have died before that.
    """

    def change(execution: Execution) -> None:
        if execution.status != Status.PAUSED:
            raise StateChanged
        _leave(run, execution, Status.PAUSED)
        execution.current_step, execution.current_step_type = -1, ""
        execution.waiting_for = None

    await index_entries.update_entry(run.state.store, await _write(run, change))


async def release_pending(run: Run) -> None:
    """Set the invocation to pending, for another processor, which a new command calls at once.

    Handing the old command back would not do: nats-server forgets that when it is restarted.
    """

    def change(execution: Execution) -> None:
        status = Status.PAUSED if execution.status == Status.PAUSED else Status.PENDING
        _leave(run, execution, status)

    execution = await _write(run, change)
    if execution.status == Status.PENDING:
        await index_entries.update_entry(run.state.store, execution, [wake_request(run.state.store, execution)])


def _leave(run: Run, execution: Execution, status: Status) -> None:
    if (execution.status, status) != (Status.PAUSED, Status.PAUSED):
        execution.enter_status(status, run.state.clock.now())
    execution.release()
    execution.total_steps = max(execution.total_steps, len(run.state.entries))
    execution.workflow_state = run.state.latest_workflow_state
    execution.compensations = len(run.compensations)


async def _end(run: Run, status: Status, failure: _Failure = _NONE, *, output: Payload = NO_PAYLOAD) -> Execution:
    deferred = await run.journal_writer.take_deferred()
    entries = [run.state.entries[number] for number in sorted(run.state.entries)]
    encoded = [entry.encoded or encode_entry(entry) for entry in entries]
    inline_entries = encoded if sum(map(len, encoded)) <= INLINE_LIMIT_BYTES else []
    if deferred is not None and not inline_entries:
        await run.journal_writer.append(deferred)
        deferred = None

    def change(execution: Execution) -> None:
        if status != Status.CANCELLED and execution.cancel_requested:
            raise StateChanged
        if status != Status.CANCELLED and execution.status == Status.PAUSED:
            raise Paused
        end_execution(execution, status, run.state.clock.now(), journal_length=0 if inline_entries else len(entries))
        execution.expires_at = execution.finished_at + run.retention_us if run.retention_us else 0
        execution.total_steps = max([run.state.started_count, *(number + 1 for number in run.state.entries)])
        execution.workflow_state = run.state.latest_workflow_state
        execution.output = output
        failure.write_to(execution)

    await run.journal_writer.describe_types()
    try:
        try:
            execution = await _write(run, change, inline_entries)
        except PayloadTooLargeError:
            if not inline_entries:
                raise
            inline_entries = []
            if deferred is not None:
                await run.journal_writer.append(deferred)
                deferred = None
            execution = await _write(run, change)
    except (StateChanged, Paused):
        if deferred is not None:
            await run.journal_writer.append(deferred)
        raise
    run.metrics.ended[status] += 1
    children = interrupted_children(entries) if status != Status.COMPLETED else []
    deferred_number = -1 if deferred is None else deferred.step_number
    await clean_up_end(
        run.state.store, execution, run.state.ownership.revision, entries, children, unstored=deferred_number
    )
    return execution


@crash_at_caller
async def _write(run: Run, change: Callable[[Execution], None], inline_entries: list[bytes] | None = None) -> Execution:
    await settle(run)
    return await run.state.ownership.write(change, inline_entries or [])


async def settle(run: Run) -> None:
    """Have written what the run still writes, before its last write of the state."""
    run.waits.close()
    await run.journal_writer.flush()
    await run.tracker.close()
