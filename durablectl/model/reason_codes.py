"""Why a workflow or a step is as it is, as a word that programs compare; sentences are for people only."""

from __future__ import annotations

from enum import StrEnum


class ReasonCode(StrEnum):
    """As stored in field 62 of ExecutionState, and with the error of a step.

    Empty where nothing needs a reason. A later version may store other words: compare, and have a way for the rest.
    """

    # Of a workflow that is paused.
    PAUSED_BY_OPERATOR = "paused_by_operator"
    MISMATCH = "mismatch"
    """Its code asked for another step than the journal holds; ``Execution.mismatch`` has both."""
    CRASHED_PROCESSOR = "crashed_processor"
    """Its processor died on it ``Execution.crashes`` times."""
    HANDLER_STUCK = "handler_stuck"
    """Its handler spins, or awaits what nothing brings."""
    ENGINE_FAILED = "engine_failed"
    """The engine raised an error of its own, again and again."""
    UNREADABLE = "unreadable"
    """Its journal cannot be read."""

    # Of a workflow that is cancelled, or being cancelled.
    CANCELLED_BY_OPERATOR = "cancelled_by_operator"
    CANCELLED_WITH_PARENT = "cancelled_with_parent"

    # Of a workflow that failed.
    STEP_FAILED = "step_failed"
    """With the error of a step, or another one raised because of it; ``Execution.failed_step`` says which step."""
    CODE_FAILED = "code_failed"

    # Of a step that failed for good, or an attempt that failed.
    ATTEMPT_FAILED = "attempt_failed"
    """With an error after which another attempt is possible, as far as the kind of error goes."""
    FINAL_ERROR = "final_error"
    """With an error that no other attempt can change."""
    NO_SERVICE = "no_service"
    """No service takes the request."""
    NO_ANSWER = "no_answer"
    """A service did not answer in time."""
    PERMISSION_DENIED = "permission_denied"
    """The server does not let the processor send the request."""
    INTERRUPTED = "interrupted"
    """By the cancellation of the workflow."""
    REJECTED = "rejected"
    """The awakeable was resolved with an error."""
    CHILD_FAILED = "child_failed"
    CHILD_CANCELLED = "child_cancelled"

    # Of a workflow or a step.
    TIMED_OUT = "timed_out"
    """It did not end within its own time limit."""
    TOO_LARGE = "too_large"
    """What it made does not fit into a message."""


COMPENSATION_FAILED = "CompensationFailed"
"""The error type of a cancelled workflow one of whose compensations failed."""
CANCELLATIONS = frozenset({ReasonCode.CANCELLED_BY_OPERATOR, ReasonCode.CANCELLED_WITH_PARENT})
NEVER_RETRIED = frozenset({ReasonCode.FINAL_ERROR, ReasonCode.TOO_LARGE, ReasonCode.REJECTED})
