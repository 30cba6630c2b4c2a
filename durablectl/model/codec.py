"""Records to protobuf bytes and back; the only module that knows the generated code.

Every decode accepts records in which only fields 1 to 9 are set, and raises StorageError on bytes that are not such a
record at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from durablectl._proto import durable_pb2 as pb
from durablectl.errors import StorageError
from durablectl.model.records import Awakeable, Command, Execution, JournalEntry, Payload, Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

_M = TypeVar("_M", bound=Message)


def _parse(message: _M, data: bytes, what: str) -> _M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise StorageError(
            f"{what} cannot be read: its {len(data)} bytes are not a durable.{message.DESCRIPTOR.name}.",
            hint="It was cut short, or something else wrote to this subject.",
        ) from error
    return message


def encode_command(command: Command) -> bytes:
    return pb.Command(
        invocation_id=command.invocation_id,
        handler=command.handler,
        args=command.input.data,
        partition_key=command.partition_key,
        kind=command.kind,
        input_type=command.input.type_name,
        created_at=command.created_at,
        start_token=command.start_token,
        parent_id=command.parent_id,
    ).SerializeToString()


def decode_command(data: bytes) -> Command:
    message = _parse(pb.Command(), data, "A command")
    return Command(
        invocation_id=message.invocation_id,
        handler=message.handler,
        kind=message.kind or "start",
        input=Payload(message.args, message.input_type),
        partition_key=message.partition_key,
        created_at=message.created_at,
        start_token=message.start_token,
        parent_id=message.parent_id,
    )


def _entry_message(entry: JournalEntry) -> pb.JournalEntry:
    return pb.JournalEntry(
        step_number=entry.step_number,
        step_type=entry.step_type,
        request=entry.request.data,
        response=entry.response.data,
        error=entry.error,
        kind=entry.kind,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        attempts=entry.attempts,
        request_type=entry.request.type_name,
        response_type=entry.response.type_name,
        error_type=entry.error_type,
    )


def _entry(message: pb.JournalEntry) -> JournalEntry:
    return JournalEntry(
        step_number=message.step_number,
        step_type=message.step_type,
        kind=message.kind,
        request=Payload(message.request, message.request_type),
        response=Payload(message.response, message.response_type),
        error=message.error,
        error_type=message.error_type,
        started_at=message.started_at,
        finished_at=message.finished_at,
        attempts=message.attempts,
    )


def encode_entry(entry: JournalEntry) -> bytes:
    """The encoded entry, which it also keeps for folding."""
    entry.encoded = _entry_message(entry).SerializeToString()
    return entry.encoded


def decode_entry(data: bytes, where: str = "A journal entry") -> JournalEntry:
    entry = _entry(_parse(pb.JournalEntry(), data, where))
    entry.encoded = data
    return entry


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_JOURNAL_TAG = bytes([pb.ExecutionState.JOURNAL_FIELD_NUMBER << 3 | 2])


def encode_execution(execution: Execution, folded: Sequence[bytes] = ()) -> bytes:
    """``folded`` are entries that encode_entry has made: a repeated field may be appended as it is."""
    data = _execution_message(execution).SerializeToString()
    if not folded:
        return data
    return b"".join([data, *(part for entry in folded for part in (_JOURNAL_TAG, _varint(len(entry)), entry))])


def _execution_message(execution: Execution) -> pb.ExecutionState:
    message = pb.ExecutionState(
        invocation_id=execution.invocation_id,
        handler=execution.handler,
        current_state=execution.output.data,
        status=execution.status,
        current_step=execution.current_step,
        current_step_type=execution.current_step_type,
        workflow_state={key: payload.data for key, payload in execution.workflow_state.items()},
        workflow_state_types={k: p.type_name for k, p in execution.workflow_state.items() if p.type_name},
        input=execution.input.data,
        input_type=execution.input.type_name,
        output_type=execution.output.type_name,
        error=execution.error,
        error_type=execution.error_type,
        traceback=execution.traceback,
        reason=execution.reason,
        partition_key=execution.partition_key,
        owner=execution.owner,
        attempt=execution.attempt,
        total_steps=execution.total_steps,
        created_at=execution.created_at,
        started_at=execution.started_at,
        updated_at=execution.updated_at,
        finished_at=execution.finished_at,
        parent_id=execution.parent_id,
        start_token=execution.start_token,
        indexed_at=execution.indexed_at,
        command_sequence=execution.command_sequence,
        journal_length=execution.journal_length,
        previous_group=execution.previous_group,
        previous_indexed_at=execution.previous_indexed_at,
    )
    if execution.journal:
        message.journal.extend([_entry_message(entry) for entry in execution.journal])
    if execution.waiting_for is not None:
        message.waiting_for.CopyFrom(_waiting_message(execution.waiting_for))
    for key, awakeable in execution.awakeables.items():
        message.awakeables[key].CopyFrom(_awakeable_message(awakeable))
    return message


def _waiting_message(waiting: Waiting) -> pb.Waiting:
    return pb.Waiting(
        kind=waiting.kind,
        name=waiting.name,
        step_number=waiting.step_number,
        until=waiting.until,
        attempt=waiting.attempt,
        error=waiting.error,
    )


def _awakeable_message(awakeable: Awakeable) -> pb.AwakeableState:
    return pb.AwakeableState(
        awakeable_id=awakeable.awakeable_id,
        invocation_id=awakeable.invocation_id,
        resolved=awakeable.resolved,
        result=awakeable.result,
        error=awakeable.error,
        created_at=awakeable.created_at,
    )


def decode_execution(data: bytes, invocation_id: str) -> Execution:
    """``invocation_id`` is the record's key; it stands in where the record does not name itself."""
    message = _parse(pb.ExecutionState(), data, f"The state of {invocation_id}")
    waiting = message.waiting_for if message.HasField("waiting_for") else None
    return Execution(
        invocation_id=message.invocation_id or invocation_id,
        handler=message.handler,
        status=message.status,
        current_step=message.current_step,
        current_step_type=message.current_step_type,
        journal=[_entry(entry) for entry in message.journal],
        output=Payload(message.current_state, message.output_type),
        workflow_state={
            key: Payload(data, message.workflow_state_types.get(key, ""))
            for key, data in message.workflow_state.items()
        },
        awakeables={key: _awakeable(value) for key, value in message.awakeables.items()},
        input=Payload(message.input, message.input_type),
        error=message.error,
        error_type=message.error_type,
        traceback=message.traceback,
        reason=message.reason,
        partition_key=message.partition_key,
        owner=message.owner,
        attempt=message.attempt,
        total_steps=message.total_steps,
        created_at=message.created_at,
        started_at=message.started_at,
        updated_at=message.updated_at,
        finished_at=message.finished_at,
        waiting_for=None if waiting is None else _waiting(waiting),
        parent_id=message.parent_id,
        start_token=message.start_token,
        indexed_at=message.indexed_at,
        command_sequence=message.command_sequence,
        journal_length=message.journal_length,
        previous_group=message.previous_group,
        previous_indexed_at=message.previous_indexed_at,
    )


def _waiting(message: pb.Waiting) -> Waiting:
    return Waiting(
        kind=message.kind,
        name=message.name,
        step_number=message.step_number,
        until=message.until,
        attempt=message.attempt,
        error=message.error,
    )


def _awakeable(message: pb.AwakeableState) -> Awakeable:
    return Awakeable(
        awakeable_id=message.awakeable_id,
        invocation_id=message.invocation_id,
        resolved=message.resolved,
        result=message.result,
        error=message.error,
        created_at=message.created_at,
    )
