from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("invocation_id", "handler", "service", "args", "partition_key", "sequence", "kind", "input_type", "created_at", "start_token", "parent_id", "parent_handler", "parent_partition_key", "start_at", "schedule", "restarted_from", "reason")
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    START_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_HANDLER_FIELD_NUMBER: _ClassVar[int]
    PARENT_PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    START_AT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FROM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    invocation_id: str
    handler: str
    service: str
    args: bytes
    partition_key: str
    sequence: int
    kind: str
    input_type: str
    created_at: int
    start_token: str
    parent_id: str
    parent_handler: str
    parent_partition_key: str
    start_at: int
    schedule: str
    restarted_from: str
    reason: str
    def __init__(self, invocation_id: _Optional[str] = ..., handler: _Optional[str] = ..., service: _Optional[str] = ..., args: _Optional[bytes] = ..., partition_key: _Optional[str] = ..., sequence: _Optional[int] = ..., kind: _Optional[str] = ..., input_type: _Optional[str] = ..., created_at: _Optional[int] = ..., start_token: _Optional[str] = ..., parent_id: _Optional[str] = ..., parent_handler: _Optional[str] = ..., parent_partition_key: _Optional[str] = ..., start_at: _Optional[int] = ..., schedule: _Optional[str] = ..., restarted_from: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("step_number", "step_type", "request", "response", "error", "kind", "started_at", "finished_at", "attempts", "request_type", "response_type", "error_type", "until", "awaited_id", "reason_code", "order", "error_class", "error_details")
    STEP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STEP_TYPE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    AWAITED_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    step_number: int
    step_type: str
    request: bytes
    response: bytes
    error: str
    kind: str
    started_at: int
    finished_at: int
    attempts: int
    request_type: str
    response_type: str
    error_type: str
    until: int
    awaited_id: str
    reason_code: str
    order: int
    error_class: str
    error_details: bytes
    def __init__(self, step_number: _Optional[int] = ..., step_type: _Optional[str] = ..., request: _Optional[bytes] = ..., response: _Optional[bytes] = ..., error: _Optional[str] = ..., kind: _Optional[str] = ..., started_at: _Optional[int] = ..., finished_at: _Optional[int] = ..., attempts: _Optional[int] = ..., request_type: _Optional[str] = ..., response_type: _Optional[str] = ..., error_type: _Optional[str] = ..., until: _Optional[int] = ..., awaited_id: _Optional[str] = ..., reason_code: _Optional[str] = ..., order: _Optional[int] = ..., error_class: _Optional[str] = ..., error_details: _Optional[bytes] = ...) -> None: ...

class AwakeableState(_message.Message):
    __slots__ = ("awakeable_id", "invocation_id", "resolved", "result", "error", "created_at", "name", "result_type")
    AWAKEABLE_ID_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_TYPE_FIELD_NUMBER: _ClassVar[int]
    awakeable_id: str
    invocation_id: str
    resolved: bool
    result: bytes
    error: str
    created_at: int
    name: str
    result_type: str
    def __init__(self, awakeable_id: _Optional[str] = ..., invocation_id: _Optional[str] = ..., resolved: bool = ..., result: _Optional[bytes] = ..., error: _Optional[str] = ..., created_at: _Optional[int] = ..., name: _Optional[str] = ..., result_type: _Optional[str] = ...) -> None: ...

class Signal(_message.Message):
    __slots__ = ("name", "data", "type", "sent_at", "number")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    type: str
    sent_at: int
    number: int
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ..., type: _Optional[str] = ..., sent_at: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class DroppedSteps(_message.Message):
    __slots__ = ("dropped_at", "reason", "entries")
    DROPPED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    dropped_at: int
    reason: str
    entries: _containers.RepeatedCompositeFieldContainer[JournalEntry]
    def __init__(self, dropped_at: _Optional[int] = ..., reason: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[JournalEntry, _Mapping]]] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("kind", "name", "step_number", "until", "attempt", "error", "awaited_id", "reason_code", "since")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    AWAITED_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    step_number: int
    until: int
    attempt: int
    error: str
    awaited_id: str
    reason_code: str
    since: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., step_number: _Optional[int] = ..., until: _Optional[int] = ..., attempt: _Optional[int] = ..., error: _Optional[str] = ..., awaited_id: _Optional[str] = ..., reason_code: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class FailedStep(_message.Message):
    __slots__ = ("step_number", "step_type", "message_at")
    STEP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STEP_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_AT_FIELD_NUMBER: _ClassVar[int]
    step_number: int
    step_type: str
    message_at: int
    def __init__(self, step_number: _Optional[int] = ..., step_type: _Optional[str] = ..., message_at: _Optional[int] = ...) -> None: ...

class StepMismatch(_message.Message):
    __slots__ = ("step_number", "recorded_kind", "recorded_type", "asked_kind", "asked_type", "ended_after", "recorded_request", "asked_request", "error", "is_waiting")
    STEP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RECORDED_KIND_FIELD_NUMBER: _ClassVar[int]
    RECORDED_TYPE_FIELD_NUMBER: _ClassVar[int]
    ASKED_KIND_FIELD_NUMBER: _ClassVar[int]
    ASKED_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENDED_AFTER_FIELD_NUMBER: _ClassVar[int]
    RECORDED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    ASKED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IS_WAITING_FIELD_NUMBER: _ClassVar[int]
    step_number: int
    recorded_kind: str
    recorded_type: str
    asked_kind: str
    asked_type: str
    ended_after: int
    recorded_request: str
    asked_request: str
    error: str
    is_waiting: bool
    def __init__(self, step_number: _Optional[int] = ..., recorded_kind: _Optional[str] = ..., recorded_type: _Optional[str] = ..., asked_kind: _Optional[str] = ..., asked_type: _Optional[str] = ..., ended_after: _Optional[int] = ..., recorded_request: _Optional[str] = ..., asked_request: _Optional[str] = ..., error: _Optional[str] = ..., is_waiting: bool = ...) -> None: ...

class IndexTime(_message.Message):
    __slots__ = ("status", "at", "waits")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    status: str
    at: int
    waits: str
    def __init__(self, status: _Optional[str] = ..., at: _Optional[int] = ..., waits: _Optional[str] = ...) -> None: ...

class ExecutionState(_message.Message):
    __slots__ = ("invocation_id", "handler", "journal", "current_state", "status", "current_step", "current_step_type", "workflow_state", "awakeables", "input", "input_type", "output_type", "error", "error_type", "traceback", "reason", "partition_key", "owner", "attempt", "total_steps", "created_at", "started_at", "updated_at", "finished_at", "waiting_for", "parent_id", "start_token", "indexed_at", "command_sequence", "journal_length", "workflow_state_types", "left_behind", "crashes", "crash_mark", "cancel_requested", "compensations", "waits", "signals", "history", "parent_handler", "parent_partition_key", "start_at", "schedule", "restarted_from", "signals_sent", "restarted_as", "deadline", "timer_attempt", "expires_at", "indexed_as", "reason_code", "cancel_reason", "failed_step", "mismatch", "error_class", "error_details", "retry_now_at", "step_to_restart", "restart_asked_at", "last_owner", "version", "app_version", "changed_by_jobs")
    class WorkflowStateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class AwakeablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AwakeableState
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AwakeableState, _Mapping]] = ...) -> None: ...
    class WorkflowStateTypesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STATE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STEP_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STEP_TYPE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STATE_FIELD_NUMBER: _ClassVar[int]
    AWAKEABLES_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INDEXED_AT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_LENGTH_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STATE_TYPES_FIELD_NUMBER: _ClassVar[int]
    LEFT_BEHIND_FIELD_NUMBER: _ClassVar[int]
    CRASHES_FIELD_NUMBER: _ClassVar[int]
    CRASH_MARK_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    COMPENSATIONS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PARENT_HANDLER_FIELD_NUMBER: _ClassVar[int]
    PARENT_PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    START_AT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FROM_FIELD_NUMBER: _ClassVar[int]
    SIGNALS_SENT_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_AS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    TIMER_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    INDEXED_AS_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REASON_FIELD_NUMBER: _ClassVar[int]
    FAILED_STEP_FIELD_NUMBER: _ClassVar[int]
    MISMATCH_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    RETRY_NOW_AT_FIELD_NUMBER: _ClassVar[int]
    STEP_TO_RESTART_FIELD_NUMBER: _ClassVar[int]
    RESTART_ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_OWNER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    APP_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_BY_JOBS_FIELD_NUMBER: _ClassVar[int]
    invocation_id: str
    handler: str
    journal: _containers.RepeatedCompositeFieldContainer[JournalEntry]
    current_state: bytes
    status: str
    current_step: int
    current_step_type: str
    workflow_state: _containers.ScalarMap[str, bytes]
    awakeables: _containers.MessageMap[str, AwakeableState]
    input: bytes
    input_type: str
    output_type: str
    error: str
    error_type: str
    traceback: str
    reason: str
    partition_key: str
    owner: str
    attempt: int
    total_steps: int
    created_at: int
    started_at: int
    updated_at: int
    finished_at: int
    waiting_for: Waiting
    parent_id: str
    start_token: str
    indexed_at: int
    command_sequence: int
    journal_length: int
    workflow_state_types: _containers.ScalarMap[str, str]
    left_behind: _containers.RepeatedCompositeFieldContainer[IndexTime]
    crashes: int
    crash_mark: int
    cancel_requested: bool
    compensations: int
    waits: _containers.RepeatedCompositeFieldContainer[Waiting]
    signals: _containers.RepeatedCompositeFieldContainer[Signal]
    history: _containers.RepeatedCompositeFieldContainer[DroppedSteps]
    parent_handler: str
    parent_partition_key: str
    start_at: int
    schedule: str
    restarted_from: str
    signals_sent: int
    restarted_as: str
    deadline: int
    timer_attempt: int
    expires_at: int
    indexed_as: str
    reason_code: str
    cancel_reason: str
    failed_step: FailedStep
    mismatch: StepMismatch
    error_class: str
    error_details: bytes
    retry_now_at: int
    step_to_restart: int
    restart_asked_at: int
    last_owner: str
    version: str
    app_version: str
    changed_by_jobs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, invocation_id: _Optional[str] = ..., handler: _Optional[str] = ..., journal: _Optional[_Iterable[_Union[JournalEntry, _Mapping]]] = ..., current_state: _Optional[bytes] = ..., status: _Optional[str] = ..., current_step: _Optional[int] = ..., current_step_type: _Optional[str] = ..., workflow_state: _Optional[_Mapping[str, bytes]] = ..., awakeables: _Optional[_Mapping[str, AwakeableState]] = ..., input: _Optional[bytes] = ..., input_type: _Optional[str] = ..., output_type: _Optional[str] = ..., error: _Optional[str] = ..., error_type: _Optional[str] = ..., traceback: _Optional[str] = ..., reason: _Optional[str] = ..., partition_key: _Optional[str] = ..., owner: _Optional[str] = ..., attempt: _Optional[int] = ..., total_steps: _Optional[int] = ..., created_at: _Optional[int] = ..., started_at: _Optional[int] = ..., updated_at: _Optional[int] = ..., finished_at: _Optional[int] = ..., waiting_for: _Optional[_Union[Waiting, _Mapping]] = ..., parent_id: _Optional[str] = ..., start_token: _Optional[str] = ..., indexed_at: _Optional[int] = ..., command_sequence: _Optional[int] = ..., journal_length: _Optional[int] = ..., workflow_state_types: _Optional[_Mapping[str, str]] = ..., left_behind: _Optional[_Iterable[_Union[IndexTime, _Mapping]]] = ..., crashes: _Optional[int] = ..., crash_mark: _Optional[int] = ..., cancel_requested: bool = ..., compensations: _Optional[int] = ..., waits: _Optional[_Iterable[_Union[Waiting, _Mapping]]] = ..., signals: _Optional[_Iterable[_Union[Signal, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[DroppedSteps, _Mapping]]] = ..., parent_handler: _Optional[str] = ..., parent_partition_key: _Optional[str] = ..., start_at: _Optional[int] = ..., schedule: _Optional[str] = ..., restarted_from: _Optional[str] = ..., signals_sent: _Optional[int] = ..., restarted_as: _Optional[str] = ..., deadline: _Optional[int] = ..., timer_attempt: _Optional[int] = ..., expires_at: _Optional[int] = ..., indexed_as: _Optional[str] = ..., reason_code: _Optional[str] = ..., cancel_reason: _Optional[str] = ..., failed_step: _Optional[_Union[FailedStep, _Mapping]] = ..., mismatch: _Optional[_Union[StepMismatch, _Mapping]] = ..., error_class: _Optional[str] = ..., error_details: _Optional[bytes] = ..., retry_now_at: _Optional[int] = ..., step_to_restart: _Optional[int] = ..., restart_asked_at: _Optional[int] = ..., last_owner: _Optional[str] = ..., version: _Optional[str] = ..., app_version: _Optional[str] = ..., changed_by_jobs: _Optional[_Iterable[str]] = ...) -> None: ...
