"""Starting a workflow: stored before it is reported, once an id."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.errors import AlreadyExistsError, NotProvisionedError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.codec import encode_command
from durablectl.model.names import new_invocation_id, validate_invocation_id, validate_name
from durablectl.model.records import Command, pending
from durablectl.model.values import encode_value, is_message
from durablectl.storage import commands, index, states
from durablectl.storage.provision import provision
from durablectl.storage.requests import NoAnswerError, too_large
from durablectl.storage.schemas import SchemaWriter

if TYPE_CHECKING:
    from durablectl.model.clock import Clock
    from durablectl.storage.states import Stored
    from durablectl.storage.store import Store

_TRIES = 3


@dataclass(frozen=True)
class StartRequest:
    """``input`` is a JSON value, a protobuf message, or None for no input; without ``invocation_id`` one is made."""

    handler: str
    input: Any = None
    invocation_id: str | None = None
    partition_key: str | None = None


async def start(store: Store, request: StartRequest, clock: Clock = SYSTEM_CLOCK) -> str:
    """Store the start of a workflow; its invocation id.

    When it returns, the command and the state are stored. Dying before the command is stored starts nothing; dying
    after it starts the workflow, because the processor writes a state that is missing. Raises InvalidNameError,
    InvalidValueError, PayloadTooLargeError, AlreadyExistsError.
    """
    command = _command(request, clock)
    for _ in range(_TRIES - 1):
        try:
            await _store(store, request, command)
        except NotProvisionedError:
            await provision(store)
        except NoAnswerError:
            # It may be stored or not: the same command again is a duplicate that we recognise as our own.
            continue
        else:
            return command.invocation_id
    await _store(store, request, command)
    return command.invocation_id


async def _store(store: Store, request: StartRequest, command: Command) -> None:
    if is_message(request.input):
        await SchemaWriter(store).ensure(type(request.input))
    await start_command(store, command)


def _command(request: StartRequest, clock: Clock) -> Command:
    return Command(
        handler=validate_name("handler", request.handler),
        invocation_id=(
            new_invocation_id() if request.invocation_id is None else validate_invocation_id(request.invocation_id)
        ),
        partition_key="" if request.partition_key is None else validate_name("partition key", request.partition_key),
        input=encode_value(request.input, f"the input of workflow {request.handler!r}"),
        created_at=clock.now(),
        start_token=secrets.token_hex(8),
    )


async def start_command(store: Store, command: Command) -> None:
    """Index entry and command together, then the state: a state never stands without a command that will run it."""
    execution = pending(command)
    limit = store.max_payload - store.record_headroom
    size = len(encode_command(command))
    if size > limit:
        raise too_large(size, limit)
    _, ack = await store.requests.exchange(
        [index.addition(store, execution), commands.publication(store, command, command.invocation_id)]
    )
    if ack.get("duplicate"):
        await _complete_other(store, ack["seq"])
    elif await states.create(store, execution) is not None:
        return
    stored = await states.load(store, command.invocation_id)
    if stored is None or stored.execution.start_token != command.start_token:
        await _refuse(store, command, stored)
    # Otherwise a processor was faster than our own write of the state.


async def _complete_other(store: Store, sequence: int) -> None:
    """Another start of this id came first; if it died before its state, write that for it."""
    first = await commands.at_sequence(store, sequence)
    if first is not None:
        execution = pending(first)
        if await states.create(store, execution) is not None:
            await store.requests.exchange([index.addition(store, execution)])


async def _refuse(store: Store, command: Command, stored: Stored | None) -> None:
    """Take back our index entry, unless it is also the true one, and say that the id is taken."""
    ours = index.entry(store.subjects, pending(command))
    if stored is None or index.entry(store.subjects, stored.execution) != ours:
        await store.requests.exchange([index.removal(store, ours)])
    status = "" if stored is None else f" ({stored.execution.handler}, {stored.execution.status})"
    raise AlreadyExistsError(
        f"A workflow with the id {command.invocation_id} exists already{status}.",
        hint=f"See it with `durablectl wf get {command.invocation_id}`, or choose another --id.",
    )
