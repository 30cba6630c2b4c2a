"""One command, from its delivery to its acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from durablectl.engine import finish
from durablectl.engine.claim import claim
from durablectl.engine.context import Context
from durablectl.engine.halt import FencedOut, Halt, HandedBack, Mismatch, StorageFailed
from durablectl.engine.run import Run
from durablectl.errors import AppError, NonDeterminismError
from durablectl.model.values import decode_value, encode_value, is_message, parse_message
from durablectl.storage import journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from durablectl.engine.ownership import Ownership
    from durablectl.engine.registry import Workflow
    from durablectl.engine.resources import Resources
    from durablectl.model.records import Command, Payload
    from durablectl.storage.pulls import Delivery

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


async def work(resources: Resources, command: Command, delivery: Delivery, running: Callable[[Run], None]) -> None:
    """Do what a command asks for. It is acknowledged last, after everything that it caused is stored.

    ``running`` is told of the run once it is claimed.
    """
    ownership = await claim(resources, command, delivery)
    if ownership is None:
        await delivery.ack()
        return
    run = await _prepare(resources, ownership)
    running(run)
    about = {"invocation_id": run.invocation_id, "handler": run.handler}
    try:
        try:
            await _run_to_end(resources, run, resources.workflows[run.handler], about)
        except HandedBack:
            await finish.hand_back(resources, run)
            await delivery.hand_back()
            _log.info("Handed back at step %d.", run.total, extra=about)
        else:
            await delivery.ack()
    except FencedOut as fenced:
        _log.warning("Fenced out, nothing more was written: the invocation is %s.", fenced, extra=about)
        await delivery.ack()
    except StorageFailed as failure:
        _log.error("Not finished, will be delivered again: %s", failure, extra=about)
        await delivery.hand_back(_RETRY_SECONDS)


async def _prepare(resources: Resources, ownership: Ownership) -> Run:
    """Nothing can be in the journal of an invocation that nobody has claimed before.

    Entries inside the record, as other implementations keep them, move to the journal first: the next write of the
    state leaves them out. Dying in between, the next claim finds them in either place.
    """
    execution = ownership.execution
    entries = (
        await journal.read(resources.store, execution.invocation_id, ownership.revision)
        if execution.attempt > 1
        else []
    )
    recorded = {entry.step_number for entry in entries}
    for entry in execution.journal:
        if entry.step_number not in recorded:
            await ownership.append(entry)
            entries.append(entry)
    return Run(resources, ownership, entries)


async def _run_to_end(resources: Resources, run: Run, workflow: Workflow, about: dict[str, str]) -> None:
    """Run the handler and write its outcome; Halt when the run ends without one."""
    try:
        output = await _run_handler(run, workflow)
    except Mismatch as mismatch:
        execution = await finish.pause(resources, run, f"{NonDeterminismError.__name__}: {mismatch}")
        _log.error("Paused: %s", execution.reason, extra=about)
    except Halt:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever the app's code raises
        execution = await finish.fail(resources, run, error)
        _log.warning("Failed: %s: %s", execution.error_type, execution.error, extra=about)
    else:
        execution = await finish.complete(resources, run, output)
        _log.debug("%s after %d steps.", execution.status.capitalize(), run.total, extra=about)


async def _run_handler(run: Run, workflow: Workflow) -> Payload:
    try:
        output = await _call_handler(run, workflow)
    except (Exception, asyncio.CancelledError):
        run.check_not_halted()
        raise
    run.check_not_halted()
    if run.leftover is not None:
        raise Mismatch(
            f"step {run.leftover.step_number} is recorded as {run.leftover.step_type!r}, "
            f"but the code now ends after {run.total} steps"
        )
    if is_message(output):
        run.note_type(type(output))
    return encode_value(output, f"the result of workflow {workflow.name!r}")


async def _call_handler(run: Run, workflow: Workflow) -> Any:
    payload = run.ownership.execution.input
    context = Context(run)
    value = decode_value(payload, workflow.input_type if payload.type_name else None)
    if value is None and not workflow.needs_input:
        return await workflow.function(context)
    if not workflow.takes_input:
        raise AppError(f"The workflow {workflow.name!r} takes no input, and was started with one.")
    if workflow.input_type is not None and not is_message(value):
        value = parse_message({} if value is None else value, workflow.input_type)
    return await workflow.function(context, value)
