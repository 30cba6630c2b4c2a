"""What comes in from outside: answers to awakeables, and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.control.audit_trail import audited, record_change
from durablectl.control.change_delivery import write_and_deliver
from durablectl.control.operation_result import OperationResult, invalid_state_error, load_for_change
from durablectl.errors import InvalidStateError, PayloadTooLargeError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import encode_execution
from durablectl.model.names import invocation_of_awakeable, validate_name
from durablectl.model.records import NO_PAYLOAD, Awakeable, Payload, Signal
from durablectl.model.status import Status, is_terminal
from durablectl.model.text import storable
from durablectl.model.values import encode_value, is_message
from durablectl.storage.records.message_types import SchemaWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store


@audited("resolve", "awakeable_id", "awakeable_id")
async def resolve(store: Store, awakeable_id: str, value: Any = None) -> OperationResult:
    """Answer an awakeable, whether or not the workflow waits for it yet.

    Raises InvalidNameError, NotFoundError, InvalidValueError; InvalidStateError when it was answered before or the
    workflow has ended.
    """
    payload = await _encode(store, value, f"the answer to {awakeable_id}")
    return await _answer(store, awakeable_id, payload, "")


@audited("reject", "awakeable_id", "awakeable_id", "error")
async def reject(store: Store, awakeable_id: str, error: str) -> OperationResult:
    """Answer an awakeable with an error, which the handler sees as StepError."""
    return await _answer(store, awakeable_id, NO_PAYLOAD, storable(error) or "rejected")


async def _answer(store: Store, awakeable_id: str, result: Payload, error: str) -> OperationResult:
    def change(execution: Execution) -> None:
        known = execution.awakeables.get(awakeable_id)
        if known is not None and known.resolved:
            raise InvalidStateError(f"The awakeable {awakeable_id} was answered before.")
        name = awakeable_id.split(".")[1]
        execution.awakeables[awakeable_id] = Awakeable(
            awakeable_id,
            execution.invocation_id,
            resolved=True,
            result=result,
            error=error,
            name=name,
            created_at=SYSTEM_CLOCK.now(),
        )

    execution = await _deliver(store, invocation_of_awakeable(awakeable_id), change)
    done = "Rejected" if error else "Resolved"
    is_early = execution.status == Status.SUSPENDED and all(w.awaited_id != awakeable_id for w in execution.waits)
    message = f"{done}; the workflow does not wait for {awakeable_id} yet." if is_early else f"{done}."
    return OperationResult(execution.invocation_id, execution.status, changed=True, message=message)


@audited("signal", "invocation_id", "name")
async def signal(store: Store, invocation_id: str, name: str, value: Any = None) -> OperationResult:
    """Send a signal; the workflow receives those of a name in the order sent. InvalidStateError when it has ended."""
    validate_name("signal name", name)
    payload = await _encode(store, value, f"the data of signal {name}")

    def change(execution: Execution) -> None:
        execution.signals_sent += 1
        execution.signals.append(Signal(name, payload, SYSTEM_CLOCK.now(), execution.signals_sent))

    execution = await _deliver(store, invocation_id, change)
    return OperationResult(
        invocation_id, execution.status, changed=True, message=f"Signal {execution.signals_sent} sent."
    )


async def _deliver(store: Store, invocation_id: str, change: Callable[[Execution], None]) -> Execution:
    """Write what has come in, then get the workflow moving if it waits."""
    while True:
        execution, revision = await load_for_change(store, invocation_id)
        if is_terminal(execution.status):
            raise invalid_state_error(execution, "answered or signalled")
        change(execution)
        _check_room(store, execution)
        await record_change(execution.handler, execution.invocation_id)
        if await write_and_deliver(store, execution, revision):
            return execution


def _check_room(store: Store, execution: Execution) -> None:
    """PayloadTooLargeError where the workflow could not write anything into its record any more."""
    size, limit = len(encode_execution(execution)), store.max_payload - store.record_headroom
    if size > limit:
        raise PayloadTooLargeError(
            f"With this, the record of {execution.invocation_id} would have {size:,} bytes. The server's "
            f"maximum payload is {store.max_payload:,} bytes, of which {store.record_headroom:,} are kept free.",
            hint="Wait until the workflow has taken what was sent before, or send a reference.",
        )


async def _encode(store: Store, value: Any, what: str) -> Payload:
    if is_message(value):
        await SchemaWriter(store).ensure(type(value))
    return encode_value(value, what)
