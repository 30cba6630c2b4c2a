"""The error tree: every error a user can meet, with its exit code and a stable machine code.

DurableError                     error               1
  UsageError                     usage               2
    InvalidNameError             invalid_name        2
    InvalidValueError            invalid_value       2
      DamagedValueError          invalid_value       2
      OutOfRangeError            invalid_value       2
  NotFoundError                  not_found           3
    NotProvisionedError          not_provisioned     3
  ConnectionFailedError          cannot_connect      4
    UnsupportedServerError       unsupported_server  4
    PermissionDeniedError        not_authorised      4
  WaitTimeoutError               timed_out           5
  ConflictError                  conflict            7
    AlreadyExistsError           already_exists      7
    InvalidStateError            invalid_state       7
    StaleRevisionError           stale_revision      7
  ConfigurationError             configuration       1
  StorageError                   storage             1
    PayloadTooLargeError         payload_too_large   1
    UnreadableError              unreadable          1
  AppError                       app                 1
  NonDeterminismError            non_determinism     1
  StepError                      step_failed         1
  TerminalError                  terminal            1
  WorkflowFailedError            workflow_failed     10
  WorkflowCancelledError         workflow_cancelled  11
"""

from __future__ import annotations

from typing import Any, ClassVar


class DurableError(Exception):
    """Root of every error meant for a user.

    ``hint`` says what to do next; it is empty where the message already does.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DurableError):
    """The request itself is malformed; nothing was sent."""

    code = "usage"
    exit_code = 2


class InvalidNameError(UsageError):
    """A name cannot become a subject token."""

    code = "invalid_name"


class InvalidValueError(UsageError):
    """A value is neither JSON nor a protobuf message, or cannot be parsed as such."""

    code = "invalid_value"


class DamagedValueError(InvalidValueError):
    """A stored value is neither JSON nor the message that it is said to be."""


class OutOfRangeError(InvalidValueError, ValueError):
    """A duration, number or size that is none, or is not in its range; the message says which range."""


class NotFoundError(DurableError):
    """Nothing of that name is stored."""

    code = "not_found"
    exit_code = 3


class NotProvisionedError(NotFoundError):
    """The streams of the namespace do not exist on this server."""

    code = "not_provisioned"


class ConnectionFailedError(DurableError):
    """No NATS server answered, or the connection was lost for good."""

    code = "cannot_connect"
    exit_code = 4


class UnsupportedServerError(ConnectionFailedError):
    """The server lacks JetStream, or is older than 2.12."""

    code = "unsupported_server"


class PermissionDeniedError(ConnectionFailedError):
    """The server refused the credentials, or they do not cover a subject."""

    code = "not_authorised"


class WaitTimeoutError(DurableError):
    """The caller's time limit passed first."""

    code = "timed_out"
    exit_code = 5


class ConflictError(DurableError):
    """The stored state does not allow it."""

    code = "conflict"
    exit_code = 7


class AlreadyExistsError(ConflictError):
    """An invocation with this id exists."""

    code = "already_exists"


class InvalidStateError(ConflictError):
    """Not possible in the invocation's present status, which the message names."""

    code = "invalid_state"


class StaleRevisionError(ConflictError):
    """It has changed since the revision that the caller knows."""

    code = "stale_revision"


class ConfigurationError(DurableError):
    """A setting, or the configuration of a stream that exists, does not fit."""

    code = "configuration"


class StorageError(DurableError):
    """JetStream answered with an error that no other class covers."""

    code = "storage"


class PayloadTooLargeError(StorageError):
    """A record is larger than the server's ``max_payload``."""

    code = "payload_too_large"


class UnreadableError(StorageError):
    """What is stored is no record, or one that nothing can be done with: cut short, or written by something else."""

    code = "unreadable"


class AppError(DurableError):
    """The workflow app could not be imported, or defines something impossible."""

    code = "app"


class NonDeterminismError(DurableError):
    """The handler asked for another step than its journal has recorded."""

    code = "non_determinism"


class StepError(DurableError):
    """A step failed for good; raised inside the handler, and the same on every replay.

    ``error`` is the message of the last attempt. ``error_type`` is the class of its exception, with the module
    (``shop.payments.CardDeclined``) unless it is one of Python's own, or the service's code. ``details`` is what the
    exception had as its attribute ``details``, where JSON can hold that in 8 KiB; else None.
    """

    code = "step_failed"

    def __init__(
        self,
        message: str,
        *,
        step_number: int = -1,
        step_type: str = "",
        attempts: int = 0,
        error: str = "",
        error_type: str = "",
        details: Any = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.step_number = step_number
        self.step_type = step_type
        self.attempts = attempts
        self.error = error
        self.error_type = error_type
        self.details = details


class StepTimeoutError(StepError, TimeoutError):
    """A step, or a wait with a time limit, did not end in time."""

    code = "step_timed_out"


class TerminalError(DurableError):
    """Raised by a step, service or handler to say that trying again is pointless."""

    code = "terminal"


class WorkflowTimeoutError(DurableError):
    """The workflow did not end within its own time limit."""

    code = "workflow_timed_out"


class WorkflowFailedError(DurableError):
    """The awaited workflow ended as failed; ``message`` is its error."""

    code = "workflow_failed"
    exit_code = 10


class WorkflowCancelledError(DurableError):
    """The awaited workflow was cancelled."""

    code = "workflow_cancelled"
    exit_code = 11
