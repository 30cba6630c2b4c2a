"""Starting a workflow: stored before it is reported, once an id."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.control.audit_trail import audited, record_change
from durablectl.errors import NotProvisionedError
from durablectl.limits import checked_count
from durablectl.model.clock import SYSTEM_CLOCK, to_rfc3339
from durablectl.model.names import (
    new_invocation_id,
    validate_app_handler,
    validate_name,
    validate_new_invocation_id,
    validate_new_name,
)
from durablectl.model.records import Command
from durablectl.model.validation import LATEST
from durablectl.model.values import encode_value, is_message
from durablectl.storage.connection.rejections import NoAnswerError, NoLeaderError
from durablectl.storage.records.message_types import SchemaWriter
from durablectl.storage.streams.provision import provision
from durablectl.storage.transitions.start_writes import start_command

if TYPE_CHECKING:
    from durablectl.model.clock import Clock
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_PATIENCE = 2
"""So many times the connection's time-out: the try that begins last has one more."""
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True)
class StartRequest:
    """``input`` is a JSON value, a protobuf message, or None for no input; without ``invocation_id`` one is made.

    ``start_at`` (microseconds since the epoch) delays the start; 0 starts at once. ``schedule`` names
    the schedule that triggered it. ``is_system`` admits the handlers that are durablectl's own.
    """

    handler: str
    input: Any = None
    invocation_id: str | None = None
    partition_key: str | None = None
    start_at: int = 0
    schedule: str = ""
    is_system: bool = False


@audited("start", "_")
async def start(store: Store, request: StartRequest, clock: Clock = SYSTEM_CLOCK, *, is_patient: bool = True) -> str:
    """Store the start of a workflow; its invocation id.

    A server that does not answer in time, or a cluster without a leader, is asked again if ``is_patient``; otherwise
    ConnectionFailedError leaves open whether the workflow was started.

    When it returns, the command and the state are stored. Dying before the command is stored starts nothing; dying
    after it starts the workflow, because the processor writes a state that is missing. Raises InvalidNameError,
    InvalidValueError, PayloadTooLargeError, AlreadyExistsError.
    """
    command = _command(request, clock)
    recording = asyncio.create_task(_record(command))
    await asyncio.sleep(0)  # its message goes first, and its answer is not waited for before the start is sent
    try:
        await _start(store, request, command, is_patient=is_patient)
    finally:
        await recording
    return command.invocation_id


async def _record(command: Command) -> None:
    details = {"partition_key": command.partition_key, "start_at": to_rfc3339(command.start_at)}
    await record_change(command.handler, command.invocation_id, schedule=command.schedule, **details)


async def _start(store: Store, request: StartRequest, command: Command, *, is_patient: bool) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE * store.settings.timeout
    is_missing = False
    while True:
        try:
            if is_missing:
                await provision(store)
            await _store(store, request, command)
        except NotProvisionedError:
            if is_missing:
                raise
            is_missing = True
        except (NoAnswerError, NoLeaderError):
            if not is_patient or asyncio.get_running_loop().time() > deadline:
                raise
            # It may be stored or not: the same command again is a duplicate that we recognise as our own.
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


async def start_copy(store: Store, old: Execution, invocation_id: str) -> None:
    """Start a new invocation with the handler and input of an old one."""
    command = Command(
        invocation_id=invocation_id,
        handler=old.handler,
        input=old.input,
        partition_key=old.partition_key,
        created_at=SYSTEM_CLOCK.now(),
        start_token=secrets.token_hex(8),
        restarted_from=old.invocation_id,
    )
    await start_command(store, command)


async def _store(store: Store, request: StartRequest, command: Command) -> None:
    if is_message(request.input):
        await SchemaWriter(store).ensure(type(request.input))
    await start_command(store, command)


def _command(request: StartRequest, clock: Clock) -> Command:
    return Command(
        handler=(validate_name if request.is_system else validate_app_handler)("handler", request.handler),
        invocation_id=(
            new_invocation_id() if request.invocation_id is None else validate_new_invocation_id(request.invocation_id)
        ),
        partition_key=""
        if request.partition_key is None
        else validate_new_name("partition key", request.partition_key),
        input=encode_value(request.input, f"the input of workflow {request.handler!r}"),
        created_at=clock.now(),
        start_token=secrets.token_hex(8),
        start_at=checked_count(request.start_at, "The start_at of a start", 0, LATEST - 1),
        schedule=request.schedule,
    )
