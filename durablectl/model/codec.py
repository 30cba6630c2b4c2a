"""Records to protobuf bytes and back; the only module that knows the generated code.

Every decode accepts records in which only fields 1 to 9 are set, and raises UnreadableError on bytes that are not
such a record at all. Fields that have the same name and type on both sides are listed once, in ``_PLAIN_*``. Records of
versions that knew no reason codes get theirs here (legacy_reasons).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError, Message

from durablectl._proto import durable_pb2 as pb
from durablectl.errors import UnreadableError
from durablectl.model import legacy_reasons
from durablectl.model.kinds import CommandKind
from durablectl.model.records import (
    Awakeable,
    Command,
    DroppedSteps,
    Execution,
    FailedStep,
    JournalEntry,
    Payload,
    PendingWait,
    Signal,
    StepMismatch,
    SupersededEntry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_M = TypeVar("_M", bound=Message)


class _Plain:
    """Copies equally named fields; attrgetter keeps it as fast as naming each one."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._get: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)

    def of(self, message: Message) -> dict[str, Any]:
        return dict(zip(self._names, self._get(message), strict=True))

    def set_in(self, record: object) -> dict[str, Any]:
        """Without the fields that are empty or zero, as most are: the message has them so anyway."""
        return {name: value for name, value in zip(self._names, self._get(record), strict=True) if value}


_PLAIN_COMMAND = _Plain(
    "invocation_id",
    "handler",
    "partition_key",
    "created_at",
    "start_token",
    "parent_id",
    "parent_handler",
    "parent_partition_key",
    "start_at",
    "schedule",
    "restarted_from",
    "reason",
)
_PLAIN_ENTRY = _Plain(
    "step_number",
    "step_type",
    "error",
    "kind",
    "started_at",
    "finished_at",
    "attempts",
    "error_type",
    "until",
    "awaited_id",
    "reason_code",
    "order",
    "error_class",
    "error_details",
)
_PLAIN_WAITING = _Plain(
    "kind", "name", "step_number", "until", "attempt", "error", "awaited_id", "reason_code", "since"
)
_PLAIN_AWAKEABLE = _Plain("awakeable_id", "invocation_id", "resolved", "error", "created_at", "name")
_PLAIN_EXECUTION = _Plain(
    "handler",
    "status",
    "current_step",
    "current_step_type",
    "error",
    "error_type",
    "error_class",
    "error_details",
    "traceback",
    "reason",
    "partition_key",
    "owner",
    "attempt",
    "total_steps",
    "created_at",
    "started_at",
    "updated_at",
    "finished_at",
    "parent_id",
    "start_token",
    "indexed_at",
    "command_sequence",
    "journal_length",
    "crashes",
    "crash_mark",
    "cancel_requested",
    "compensations",
    "parent_handler",
    "parent_partition_key",
    "start_at",
    "schedule",
    "restarted_from",
    "restarted_as",
    "signals_sent",
    "deadline",
    "timer_attempt",
    "expires_at",
    "indexed_as",
    "reason_code",
    "cancel_reason",
    "retry_now_at",
    "step_to_restart",
    "restart_asked_at",
    "last_owner",
    "version",
    "app_version",
)
_PLAIN_FAILED_STEP = _Plain(*FailedStep._fields)
_PLAIN_MISMATCH = _Plain(*StepMismatch._fields)


def _parse(message: _M, data: bytes, what: str) -> _M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise UnreadableError(
            f"{what} cannot be read: its {len(data)} bytes are not a durable.{message.DESCRIPTOR.name}.",
            hint="It was cut short, or something else wrote there. `durablectl doctor` tells how to remove it.",
        ) from error
    return message


def encode_command(command: Command) -> bytes:
    return pb.Command(
        **_PLAIN_COMMAND.set_in(command),
        args=command.input.data,
        input_type=command.input.type_name,
        kind=command.kind,
    ).SerializeToString()


def decode_command(data: bytes) -> Command:
    message = _parse(pb.Command(), data, "A command")
    return Command(
        **_PLAIN_COMMAND.of(message),
        input=Payload(message.args, message.input_type),
        kind=message.kind or CommandKind.START,
    )


def _entry_message(entry: JournalEntry) -> pb.JournalEntry:
    # Once a step, so without the detour through a table.
    message = pb.JournalEntry(
        step_number=entry.step_number,
        step_type=entry.step_type,
        kind=entry.kind,
        request=entry.request.data,
        response=entry.response.data,
        request_type=entry.request.type_name,
        response_type=entry.response.type_name,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        attempts=entry.attempts,
        order=entry.order,
    )
    if entry.error or entry.error_type or entry.reason_code:
        message.error, message.error_type, message.reason_code = entry.error, entry.error_type, entry.reason_code
    if entry.error_class or entry.error_details:
        message.error_class, message.error_details = entry.error_class, entry.error_details
    if entry.awaited_id or entry.until:
        message.awaited_id, message.until = entry.awaited_id, entry.until
    return message


def _entry(message: pb.JournalEntry) -> JournalEntry:
    entry = JournalEntry(
        **_PLAIN_ENTRY.of(message),
        request=Payload(message.request, message.request_type),
        response=Payload(message.response, message.response_type),
    )
    if entry.error and not entry.reason_code:
        entry.reason_code = legacy_reasons.of_entry(entry)
    return entry


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


def encode_execution(execution: Execution, inline_entries: Sequence[bytes] = ()) -> bytes:
    """``inline_entries`` are entries that encode_entry has made: a repeated field may be appended as it is."""
    data = _execution_message(execution).SerializeToString()
    if not inline_entries:
        return data
    return b"".join([data, *(part for entry in inline_entries for part in (_JOURNAL_TAG, _varint(len(entry)), entry))])


def _execution_message(execution: Execution) -> pb.ExecutionState:
    message = pb.ExecutionState(
        **_PLAIN_EXECUTION.set_in(execution),
        invocation_id=execution.invocation_id,
        current_state=execution.output.data,
        output_type=execution.output.type_name,
        input=execution.input.data,
        input_type=execution.input.type_name,
        changed_by_jobs=execution.changed_by_jobs,
    )
    if execution.workflow_state:
        for key, payload in execution.workflow_state.items():
            message.workflow_state[key] = payload.data
            if payload.type_name:
                message.workflow_state_types[key] = payload.type_name
    if execution.reason_code or execution.waiting_for is not None:
        _add_details(message, execution)
    for left in execution.superseded_entries:
        message.left_behind.add(status=left.status, at=left.at, waits=left.waits)
    for waiting in execution.waits:
        message.waits.append(_waiting_message(waiting))
    for key, awakeable in execution.awakeables.items():
        message.awakeables[key].CopyFrom(
            pb.AwakeableState(
                **_PLAIN_AWAKEABLE.set_in(awakeable),
                result=awakeable.result.data,
                result_type=awakeable.result.type_name,
            )
        )
    for s in execution.signals:
        message.signals.add(name=s.name, data=s.data.data, type=s.data.type_name, sent_at=s.sent_at, number=s.number)
    for dropped in execution.history:
        entries = map(_entry_message, dropped.entries)
        message.history.add(dropped_at=dropped.dropped_at, reason=dropped.reason, entries=entries)
    return message


def _add_details(message: pb.ExecutionState, execution: Execution) -> None:
    """What only a record that waits, or has a reason, has."""
    if execution.waiting_for is not None:
        message.waiting_for.CopyFrom(_waiting_message(execution.waiting_for))
    if execution.failed_step is not None:
        message.failed_step.CopyFrom(pb.FailedStep(**_PLAIN_FAILED_STEP.set_in(execution.failed_step)))
    if execution.mismatch is not None:
        message.mismatch.CopyFrom(pb.StepMismatch(**_PLAIN_MISMATCH.set_in(execution.mismatch)))


def _waiting_message(waiting: PendingWait) -> pb.Waiting:
    return pb.Waiting(**_PLAIN_WAITING.set_in(waiting))


def decode_execution(data: bytes, invocation_id: str) -> Execution:
    """``invocation_id`` is the record's key, and stands in where it does not name itself; it may not name another."""
    message = _parse(pb.ExecutionState(), data, f"The state of {invocation_id}")
    if invocation_id and (own := message.invocation_id) not in {"", invocation_id}:
        raise UnreadableError(f"The state of {invocation_id} cannot be read: it is the record of {own!r}.")
    # Only what is set: asking for each of the empty lists and maps costs more than all the rest.
    given: dict[str, Any] = {descriptor.name: value for descriptor, value in message.ListFields()}
    take = given.pop
    types = take("workflow_state_types", {})
    special = {
        "invocation_id": take("invocation_id", invocation_id),
        "output": Payload(take("current_state", b""), take("output_type", "")),
        "input": Payload(take("input", b""), take("input_type", "")),
        "workflow_state": {k: Payload(v, types.get(k, "")) for k, v in take("workflow_state", {}).items()},
        "awakeables": {key: _awakeable(value) for key, value in take("awakeables", {}).items()},
    }
    for name, decode in _DECODERS.items():
        if name in given:
            special[name] = [decode(item) for item in take(name)]
    if "changed_by_jobs" in given:
        special["changed_by_jobs"] = [*take("changed_by_jobs")]
    if "left_behind" in given:
        special["superseded_entries"] = [
            SupersededEntry(item.status, item.at, item.waits) for item in take("left_behind")
        ]
    for name, decode in _SINGLE_DECODERS.items():
        if name in given:
            special[name] = decode(take(name))
    execution = Execution(**{**_ABSENT, **given, **special})
    if not execution.reason_code and (execution.status in legacy_reasons.EXPLAINED or execution.cancel_requested):
        legacy_reasons.complete(execution)
    return execution


def _waiting(message: pb.Waiting) -> PendingWait:
    waiting = PendingWait(**_PLAIN_WAITING.of(message))
    if waiting.error and not waiting.reason_code:
        waiting.reason_code = legacy_reasons.of_attempt(waiting)
    return waiting


def _awakeable(message: pb.AwakeableState) -> Awakeable:
    return Awakeable(**_PLAIN_AWAKEABLE.of(message), result=Payload(message.result, message.result_type))


def _signal(message: pb.Signal) -> Signal:
    return Signal(message.name, Payload(message.data, message.type), message.sent_at, message.number)


def _dropped(message: pb.DroppedSteps) -> DroppedSteps:
    return DroppedSteps(message.dropped_at, message.reason, [_entry(entry) for entry in message.entries])


_ABSENT = {"handler": "", "status": "", "current_step": 0}
"""Where a record says nothing, and our own defaults for a new one are different."""

_SINGLE_DECODERS: dict[str, Callable[[Any], Any]] = {
    "waiting_for": _waiting,
    "failed_step": lambda message: FailedStep(**_PLAIN_FAILED_STEP.of(message)),
    "mismatch": lambda message: StepMismatch(**_PLAIN_MISMATCH.of(message)),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "journal": _entry,
    "waits": _waiting,
    "signals": _signal,
    "history": _dropped,
}
