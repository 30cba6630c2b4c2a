"""Attempts of steps: the next one now instead of after its back-off, or in place of one that hangs.

Each is one compare-and-set. The processor that runs the workflow is notified; should that message be lost, it looks
within two seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.control.audit_trail import audited, record_change
from durablectl.control.change_delivery import write_and_deliver
from durablectl.control.operation_result import DIRECT, OperationResult, invalid_state_error, load_for_change
from durablectl.errors import InvalidStateError
from durablectl.limits import checked_count
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.kinds import WaitingFor, WaitKind
from durablectl.model.status import Status, is_terminal
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.records import leases, states

if TYPE_CHECKING:
    from durablectl.control.operation_result import Origin
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store


_HIGHEST_STEP = 2**31 - 2


@audited("retry_now", "invocation_id")
async def retry_now(
    store: Store, invocation_id: str, *, if_revision: int = 0, origin: Origin = DIRECT
) -> OperationResult:
    """Begin the next attempt of every step that backs off. It counts, and the back-off after it is the next longer one.

    Raises NotFoundError, and InvalidStateError for a workflow that has ended or is paused.
    """
    while True:
        execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
        if is_terminal(execution.status):
            hint = "" if execution.status == Status.COMPLETED else "Go on with it by `wf retry`."
            raise invalid_state_error(execution, "tried again now", hint)
        if execution.status == Status.PAUSED:
            raise invalid_state_error(execution, "tried again now", "Resume it first.")
        if WaitingFor.RETRY not in execution.waiting_kinds:
            message = f"No step of it waits for another attempt; it is {execution.status}."
            return OperationResult(invocation_id, execution.status, changed=False, message=message)
        now = SYSTEM_CLOCK.now()
        names = _end_back_offs(execution, now)
        execution.retry_now_at = max(now, execution.retry_now_at + 1)
        origin.mark(execution)
        await record_change(execution.handler)
        if not await write_and_deliver(store, execution, revision):
            continue
        message = f"Trying {', '.join(names)} again now."
        return OperationResult(invocation_id, execution.status, changed=True, message=message)


def _end_back_offs(execution: Execution, now: int) -> list[str]:
    """Set the end of each back-off in the record to ``now``; the steps. One that is over already keeps its end."""
    waits = [waiting for waiting in (*execution.waits, execution.waiting_for) if waiting is not None]
    retries = [waiting for waiting in waits if waiting.kind == WaitKind.RETRY]
    for waiting in retries:
        waiting.until = min(waiting.until, now)
    return list(dict.fromkeys(f"step {waiting.step_number} {waiting.name}" for waiting in retries))


@audited("restart_step", "invocation_id", "step")
async def restart_step(
    store: Store,
    invocation_id: str,
    step: int | None = None,
    *,
    if_revision: int = 0,
    origin: Origin = DIRECT,
) -> OperationResult:
    """Interrupt an attempt that is under way, and begin the next one at once; ``step`` is the number of the step.

    Without it, that of the step which the workflow shows. The attempt counts; the one after it runs even if it was the
    last. Raises NotFoundError, and InvalidStateError where no step is in flight.
    """
    if step is not None:
        checked_count(step, "The step to run again", 0, _HIGHEST_STEP)
    while True:
        execution, revision = await load_for_change(store, invocation_id, if_revision, origin)
        _check_in_flight(execution)
        if not await leases.is_alive(store, execution.owner):
            raise InvalidStateError(
                f"The processor {execution.owner} that ran {invocation_id} is gone, and its step with it.",
                hint="Another processor runs the step again by itself; see `durablectl wf why`.",
            )
        number = execution.current_step if step is None else step
        execution.step_to_restart = number + 1
        execution.restart_asked_at = max(SYSTEM_CLOCK.now(), execution.restart_asked_at + 1)
        origin.mark(execution)
        await record_change(execution.handler)
        if await states.replace(store, execution, revision) is None:
            continue
        await notify_processor(store, execution.owner, invocation_id)
        name = f" {execution.current_step_type}" if number == execution.current_step else ""
        message = f"Asked {execution.owner} to interrupt step {number}{name} and to run it again."
        return OperationResult(invocation_id, execution.status, changed=True, message=message)


def _check_in_flight(execution: Execution) -> None:
    """Raise InvalidStateError where no step is executed; what to do instead depends on what it waits for."""
    if execution.status == Status.RUNNING and execution.owner and execution.current_step >= 0:
        if execution.waiting_for is None or execution.waiting_for.kind != WaitKind.RETRY:
            return
        waiting = execution.waiting_for
        raise InvalidStateError(
            f"Step {waiting.step_number} {waiting.name} of {execution.invocation_id} waits for another attempt.",
            hint="Try it now with `durablectl wf retry-now`.",
        )
    hints = {
        Status.SUSPENDED: "It is suspended until something comes: see `durablectl wf why`.",
        Status.PENDING: "No processor has taken it: see `durablectl wf why`.",
        Status.PAUSED: "Resume it first.",
        Status.RUNNING: "Between steps, its own code runs.",
        Status.FAILED: "Go on with it by `durablectl wf retry`.",
        Status.CANCELLED: "Go on with it by `durablectl wf retry`.",
    }
    raise InvalidStateError(
        f"No step of {execution.invocation_id} is in flight: it is {execution.status}.",
        hint=hints.get(Status(execution.status), ""),
    )
