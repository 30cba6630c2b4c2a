"""The writes that start a workflow: index entry and command together, then the state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.errors import AlreadyExistsError, DurableError, PayloadTooLargeError, StorageError
from durablectl.model.codec import encode_command
from durablectl.model.kinds import WaitKind
from durablectl.model.records import NO_PAYLOAD, Command, Payload, PendingWait, pending_execution
from durablectl.storage.commands import command_queue
from durablectl.storage.commands.wake import START_TIMER, scheduled_command_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.connection.requests import Request
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState


@dataclass(frozen=True)
class StartCommand:
    """What a workflow says of a child that it starts; ``start_at`` in microseconds, 0 for at once."""

    handler: str
    input: Payload = NO_PAYLOAD
    partition_key: str = ""
    start_at: int = 0
    created_at: int = 0
    is_awaited: bool = True


def first_state(command: Command) -> Execution:
    """The state that a start creates."""
    execution = pending_execution(command)
    if command.start_at:
        execution.waiting_for = PendingWait(WaitKind.START, command.handler, -1, until=command.start_at)
    return execution


async def start_command(store: Store, command: Command) -> None:
    """A state never stands without a command that will run it. Raises AlreadyExistsError, PayloadTooLargeError."""
    execution = first_state(command)
    limit = store.max_payload - store.record_headroom
    size = len(encode_command(command))
    if size > limit:
        raise PayloadTooLargeError(
            f"A record of {size:,} bytes is over the server's maximum payload of {store.max_payload:,} bytes, "
            f"of which {store.record_headroom:,} are kept free.",
            hint="Store the data elsewhere and pass a reference, or raise max_payload in the server's configuration.",
        )
    publication = _publication(store, command, command.invocation_id)
    try:
        *_, ack = await store.requests.exchange([*index_entries.addition(store, execution), publication])
    except DurableError:
        store.known_handlers.discard(command.handler)  # its entry may not be stored
        raise
    if ack.get("duplicate") and await _was_deleted(store, command.invocation_id, ack["seq"]):
        # The server remembers the id for two minutes, whatever became of the workflow.
        (ack,) = await store.requests.exchange([_publication(store, command, f"again-{command.start_token}")])
    if ack.get("duplicate"):
        await _complete_earlier_start(store, ack["seq"])
    elif await states.create(store, execution) is not None:
        return
    stored = await states.load(store, command.invocation_id)
    ours = index_entries.index_subject(store.subjects, execution)
    if stored is None or index_entries.index_subject(store.subjects, stored.execution) != ours:
        await store.requests.exchange([index_entries.removal(store, ours)])
    if stored is None or stored.execution.start_token != command.start_token:
        raise _refusal(command, stored)
    # Otherwise it is our own start, stored by a processor that was faster, or by an earlier try.


def _publication(store: Store, command: Command, message_id: str) -> Request:
    publication = command_queue.publication(store, command, message_id)
    if not command.start_at:
        return publication
    later = scheduled_command_request(store, command, command.start_at, START_TIMER)
    return later._replace(headers={**(later.headers or {}), **(publication.headers or {})})


async def _was_deleted(store: Store, invocation_id: str, sequence: int) -> bool:
    """Whether the start command stored at ``sequence`` belongs to a workflow that is gone, as far as one can tell.

    Whoever deleted one of that name has told so; the command may be that of an earlier one still. Should it be that of
    a start under way, the two meet again where the state is created, and one is refused.
    """
    stored, deleted_start = await states.load_or_tombstone(store, invocation_id)
    if stored is not None:
        return False
    return bool(deleted_start) or await command_queue.command_at(store, sequence) is None


async def start_child(store: Store, start: StartCommand, child_id: str, parent: Execution) -> None:
    """Start a child once, however often this is done: id and token follow from the parent's step.

    A workflow of that id that is not awaited may exist already, if it was started with the same handler, input and
    partition key. Raises AlreadyExistsError for another one, which a repetition would meet again.
    """
    command = Command(
        invocation_id=child_id,
        handler=start.handler,
        input=start.input,
        partition_key=start.partition_key,
        created_at=start.created_at,
        start_token=hashlib.sha256(f"{parent.start_token}:{child_id}".encode()).hexdigest()[:16],
        parent_id=parent.invocation_id,
        parent_handler=parent.handler if start.is_awaited else "",
        parent_partition_key=parent.partition_key,
        start_at=start.start_at,
    )
    try:
        await start_command(store, command)
    except AlreadyExistsError as error:
        stored = await states.load(store, child_id)
        if stored is None:
            raise StorageError(f"The workflow {child_id} was deleted while it was started again.") from error
        differences = _differences(command, stored.execution)
        if start.is_awaited or differences:
            difference = f", with another {' and another '.join(differences)}" if differences else ""
            raise AlreadyExistsError(
                f"A workflow with the id {child_id} exists already{difference} ({stored.execution.status}).",
                hint="Start it with the same handler, input and partition key, or choose another id.",
            ) from error


def _differences(command: Command, execution: Execution) -> list[str]:
    """What a start of the same id differs in."""
    pairs = {
        "handler": (command.handler, execution.handler),
        "input": (command.input, execution.input),
        "partition key": (command.partition_key, execution.partition_key),
    }
    return [name for name, (asked, stored) in pairs.items() if asked != stored]


async def _complete_earlier_start(store: Store, sequence: int) -> None:
    """Another start of this id came first; if it died before its state, write that for it."""
    first = await command_queue.command_at(store, sequence)
    if first is not None:
        execution = first_state(first)
        if await states.create(store, execution) is not None:
            await store.requests.exchange(index_entries.addition(store, execution))


def _refusal(command: Command, stored: StoredState | None) -> AlreadyExistsError:
    status = "" if stored is None else f" ({stored.execution.handler}, {stored.execution.status})"
    return AlreadyExistsError(
        f"A workflow with the id {command.invocation_id} exists already{status}.",
        hint=f"See it with `durablectl wf get {command.invocation_id}`, or choose another --id.",
    )
