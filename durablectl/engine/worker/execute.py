"""One command, from its delivery to its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.operation_registry import received_in_vain
from durablectl.engine.operations.sleep import LoopTimer
from durablectl.engine.replay.control_flow import (
    EngineFailed,
    FencedOut,
    HandlerStuck,
    JournalDamaged,
    JournalMismatch,
    Paused,
    ProcessorStopping,
    StateChanged,
    StorageFailed,
    Suspended,
    WorkflowTimedOut,
)
from durablectl.engine.replay.run import Run
from durablectl.engine.sdk.context import Context
from durablectl.engine.worker import outcome, quarantine
from durablectl.engine.worker.claim import claim
from durablectl.engine.worker.crash_loop_guard import MAX_CRASHES
from durablectl.engine.worker.schedule_firing import fire
from durablectl.errors import (
    AppError,
    NonDeterminismError,
    PayloadTooLargeError,
    StepError,
    UnreadableError,
    UsageError,
    WorkflowTimeoutError,
)
from durablectl.model.kinds import CommandKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.status import Status
from durablectl.model.text import message_of
from durablectl.model.values import decode_value, encode_value, is_message, parse_message
from durablectl.storage.records import journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.replay.ownership import Ownership
    from durablectl.engine.sdk.registry import Workflow
    from durablectl.engine.worker.resources import Resources
    from durablectl.model.records import Command, JournalEntry, Payload
    from durablectl.storage.commands.pulls import Delivery

_log = logging.getLogger(__name__)

_MOST_RUNS = 5
"""Runs in a row, on the same revision of the state, that may find it to have changed meanwhile."""


async def process_command(
    resources: Resources, command: Command, delivery: Delivery, on_run: Callable[[Run], None]
) -> None:
    """Do what a command asks for. It is acknowledged last, after everything that it caused is stored.

    Raises DurableError, StorageFailed or EngineFailed where it is to be delivered again. ``on_run`` is called with the
    run once the invocation is claimed.
    """
    if command.kind == CommandKind.FIRE:
        await fire(resources, delivery, command.schedule)
        await delivery.ack()
        return
    claimed = await claim(resources, command, delivery)
    if claimed is None:
        await delivery.ack()
        return
    about = {"invocation_id": command.invocation_id, "handler": command.handler}
    metrics = resources.metrics.of[command.handler]
    lag = resources.clock.now() - delivery.timestamp_us if delivery.timestamp_us and not claimed.crashed else None
    metrics.claimed(first=claimed.ownership.execution.attempt == 1, lag=lag)
    try:
        crashed = claimed.crashed
        runs: Counter[int] = Counter()
        while not await _run_once(resources, claimed.ownership, on_run, about, crashed=crashed):
            crashed = False
            runs[claimed.ownership.revision] += 1
            if runs[claimed.ownership.revision] == _MOST_RUNS:
                error = RuntimeError(f"{_MOST_RUNS} runs found the same state to have changed meanwhile")
                raise EngineFailed(error)
    except FencedOut as fenced:
        metrics.fences += 1
        _log.warning("Fenced out, nothing more was written: the invocation is %s.", fenced, extra=about)
    await delivery.ack()


async def _run_once(
    resources: Resources, ownership: Ownership, on_run: Callable[[Run], None], about: dict[str, str], *, crashed: bool
) -> bool:
    """Run the handler and write where that led; False when it must be run again on what changed meanwhile."""
    try:
        entries = await _read_journal(resources, ownership)
    except StateChanged:
        return False
    except UnreadableError as error:
        await quarantine.stop_unreadable(resources, ownership, error, about)
        return True
    run = Run(
        resources.store,
        ownership,
        entries,
        schemas=resources.schemas,
        metrics=resources.metrics.of[ownership.execution.handler],
        jitter=resources.random,
        make_timer=LoopTimer,
        received_in_vain=received_in_vain,
        retention_us=resources.retention_of(ownership.execution.handler),
    )
    on_run(run)
    workflow = resources.workflows[run.state.handler]
    try:
        if crashed and not await _admit(resources, run):
            await outcome.pause(run, ReasonCode.CRASHED_PROCESSOR, f"crashed its processor {MAX_CRASHES} times")
            _log.error("Paused: it crashed its processor %d times.", MAX_CRASHES, extra=about)
            return True
        await _run_until_exit(run, workflow, about)
    except StateChanged:
        return False
    except JournalDamaged as damaged:
        await outcome.settle(run)
        await quarantine.stop_unreadable(resources, ownership, damaged.error, about)
    except PayloadTooLargeError as error:
        try:
            await outcome.fail(run, error)
        except (StateChanged, Paused):
            raise StorageFailed(error) from error
        _log.error("Failed: its record does not fit into a message. %s", error, extra=about)
    finally:
        run.close()
    return True


async def _admit(resources: Resources, run: Run) -> bool:
    """Wait until the crash-loop guard lets the invocation begin; False where it has crashed too often."""
    admission = await resources.crash_loop_guard.admit(run.state.ownership, len(run.state.entries))
    if admission is None:
        return False
    run.journal_writer.on_progress = admission.end
    return True


async def _run_until_exit(run: Run, workflow: Workflow, about: dict[str, str]) -> None:
    try:
        await _run_to_end(run, workflow, about)
    except Suspended as suspended:
        await outcome.suspend(run, suspended.waits, suspended.revision)
    except JournalMismatch as mismatch:
        reason = f"{NonDeterminismError.__name__}: {mismatch}"
        execution = await outcome.pause(run, ReasonCode.MISMATCH, reason, mismatch.details)
        _log.error("Paused: %s", execution.reason, extra=about)
    except HandlerStuck as stuck:
        execution = await outcome.pause(run, ReasonCode.HANDLER_STUCK, f"its handler is stuck: {stuck}")
        _log.error("Paused: %s", execution.reason, extra=about)
    except Paused:
        await outcome.release_paused(run)
        _log.info("Paused at step %d.", run.state.step_count, extra=about)
    except ProcessorStopping:
        await outcome.release_pending(run)
        _log.info("Handed back at step %d.", run.state.step_count, extra=about)


async def _read_journal(resources: Resources, ownership: Ownership) -> list[JournalEntry]:
    """The journal. That of an invocation which no processor has claimed before is empty, and is not read.

    Entries inside the record, as other implementations and a retry keep them, move to the journal first: the next write
    of the state leaves them out. Dying in between, the next claim finds them in either place. Entries that were to go
    away with an end that a retry has undone are written again, to stay: by their lifetime, or because the processor
    that ended it, slow, may be about to purge what is older than that end.
    """
    execution = ownership.execution
    entries: list[JournalEntry] = []
    if execution.attempt > 1 or ownership.was_read:
        entries = await journal.read(resources.store, execution.invocation_id, ownership.revision)
        # Ours still? The journal of what someone has ended meanwhile is empty, and every step would run again.
        await ownership.refresh()
        execution = ownership.execution
    ownership.was_read = True
    inside = {entry.step_number: entry for entry in execution.journal}
    recorded = {entry.step_number for entry in entries}
    for entry in entries:
        if execution.expires_at or entry.step_number in inside:
            await ownership.append(entry)
    for number, entry in inside.items():
        if number not in recorded:
            await ownership.append(entry)
            entries.append(entry)
    execution.expires_at = 0
    execution.journal = []
    return entries


async def _run_to_end(run: Run, workflow: Workflow, about: dict[str, str]) -> None:
    """Run the handler and write its outcome; RunExit when the run ends without one."""
    output = NO_PAYLOAD
    error: BaseException | None = None
    try:
        output = await _output_of_handler(run, workflow)
    except HandlerStuck as stuck:
        if not run.runner.is_cancelled:
            raise
        _log.warning("The handler was ended: %s.", stuck, extra=about)
    except WorkflowTimedOut:
        error = WorkflowTimeoutError(f"The workflow had not ended after {workflow.timeout:g} s.")
    except _HandlerError as failed:
        error = failed.error
    if run.state.is_cancelling:
        await _cancel(run, about)
    elif error is None:
        execution = await outcome.complete(run, output)
        _log.debug("%s after %d steps.", execution.status.capitalize(), run.state.step_count, extra=about)
    else:
        await _compensate(run, Status.FAILED, about)
        execution = await outcome.fail(run, error)
        _log.warning("Failed: %s: %s", execution.error_type, execution.error, extra=about)


async def _cancel(run: Run, about: dict[str, str]) -> None:
    """Run the compensations, then end as cancelled."""
    failures = await _compensate(run, Status.CANCELLED, about)
    await outcome.cancel(run, "; ".join(failures))
    _log.info("Cancelled after %d steps.", run.state.step_count, extra=about)


async def _compensate(run: Run, status: Status, about: dict[str, str]) -> list[str]:
    """Run the compensations for an end with ``status``, the last registered first; the messages of those that failed.

    Each is a durable step. One that fails does not keep the others from running.
    """
    wanted = [each for each in reversed(run.compensations) if each.when in {"", status}]
    if not wanted:
        return []
    failures: list[str] = []

    async def compensate() -> None:
        for each in wanted:
            try:
                await each.make()
            except StepError as error:
                failures.append(error.message)
                _log.error("A compensation failed: %s", error, extra=about)

    # Nothing else is raised there; if something were, it would not pass unseen.
    (await run.run_compensation(compensate())).result()
    return failures


class _HandlerError(Exception):
    """The handler raised ``error``, which may be any exception."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _explained(error: BaseException) -> BaseException:
    """What asyncio says of a future of the processor's loop names the cause, and not the way out."""
    if not (isinstance(error, RuntimeError) and "attached to a different loop" in message_of(error)):
        return error
    explained = UsageError(
        "The handler awaited a future of another event loop, which a replay does not have.",
        hint="Await it in a step: await ctx.step(function, ...).",
    )
    explained.__cause__ = error
    return explained


async def _output_of_handler(run: Run, workflow: Workflow) -> Payload:
    """Run the handler to its end. Raises _HandlerError, and RunExit when the run leaves it before."""
    handler = await run.run_handler(_call_handler(run, workflow), workflow.timeout)
    if handler.cancelled():
        raise _HandlerError(asyncio.CancelledError("The handler raised CancelledError."))
    raised = handler.exception()
    if raised is not None:
        raise _HandlerError(_explained(raised))
    output = handler.result()
    try:
        if is_message(output):
            run.journal_writer.note_type(type(output))
        return encode_value(output, f"the result of workflow {workflow.name!r}")
    except BaseException as error:
        raise _HandlerError(error) from error


async def _call_handler(run: Run, workflow: Workflow) -> Any:
    payload = run.state.ownership.execution.input
    context = Context(run)
    value = decode_value(payload, workflow.input_type if payload.type_name else None)
    if value is None and not workflow.needs_input:
        return await workflow.function(context)
    if not workflow.takes_input:
        raise AppError(f"The workflow {workflow.name!r} takes no input, and was started with one.")
    if workflow.input_type is not None and not is_message(value):
        value = parse_message({} if value is None else value, workflow.input_type)
    return await workflow.function(context, value)
