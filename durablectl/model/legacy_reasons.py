"""Reason codes of records that were written before there were any, from the sentences of those versions.

No other code reads meaning from sentences, and the texts here never change: they are what is stored.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from durablectl.model.kinds import StepKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep, StepMismatch
from durablectl.model.status import Status

if TYPE_CHECKING:
    from durablectl.model.records import Execution, JournalEntry, PendingWait

EXPLAINED = frozenset({Status.PAUSED, Status.FAILED, Status.CANCELLED})
"""The statuses that have a reason."""

# Expressions are compiled when they are first needed: few records need them.
_BY_PARENT = "its parent was cancelled"
_CANCELLING = r"\Acancelling(?:: |\Z)"
_CRASHED = r"crashed its processor \d+ times"
_UNREADABLE = r"cannot be (?:read|used): "
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_IS_MISMATCH = "NonDeterminismError: "
_MISMATCH = (
    rf"{_IS_MISMATCH}step (\d+) is recorded as (?:the (\S+) )?({_QUOTED}), but the code now "
    rf"(?:asks for the (\S+) ({_QUOTED})|ends after (\d+) steps)"
)
_STEP = rf"Step (\d+) ({_QUOTED}) failed(?: at its first attempt| after \d+ attempts)?: "
_STEP_ERRORS = frozenset({"StepError", "StepTimeoutError"})
_NO_SERVICE = "no service answers"
_FINAL = frozenset({"TerminalError", "InvalidValueError", "UsageError"})
_REFUSED = r"ServiceError 4\d\d"


def of_entry(entry: JournalEntry) -> ReasonCode:
    """Why a step failed."""
    match entry.kind, entry.error_type:
        case _, "Cancelled" if entry.error == "interrupted by a cancellation":
            found = ReasonCode.INTERRUPTED
        case _, "TimeoutError":
            found = ReasonCode.TIMED_OUT
        case _, "PayloadTooLargeError":
            found = ReasonCode.TOO_LARGE
        case StepKind.CHILD, error_type:
            found = ReasonCode.CHILD_CANCELLED if error_type == "Cancelled child" else ReasonCode.CHILD_FAILED
        case StepKind.AWAKEABLE, "Rejected":
            found = ReasonCode.REJECTED
        case StepKind.CALL, "Unavailable":
            found = ReasonCode.NO_SERVICE if entry.error == _NO_SERVICE else ReasonCode.NO_ANSWER
        case _, error_type if error_type in _FINAL or re.fullmatch(_REFUSED, error_type):
            found = ReasonCode.FINAL_ERROR
        case _:
            found = ReasonCode.ATTEMPT_FAILED
    return found


def of_attempt(waiting: PendingWait) -> ReasonCode:
    """Why the last attempt failed; its type was not stored."""
    return ReasonCode.NO_SERVICE if waiting.error == _NO_SERVICE else ReasonCode.ATTEMPT_FAILED


def complete(execution: Execution) -> None:
    """Set what says why a workflow has its status, or is being cancelled."""
    if execution.cancel_requested:
        execution.cancel_reason = re.sub(_CANCELLING, "", execution.reason)
        execution.reason_code = _cancellation(execution.cancel_reason)
        return
    match execution.status:
        case Status.PAUSED:
            execution.reason_code, execution.mismatch = _pause(execution.reason)
        case Status.CANCELLED:
            execution.reason_code = _cancellation(execution.reason)
        case Status.FAILED:
            execution.reason_code, execution.failed_step = _failure(execution)


def _cancellation(reason: str) -> ReasonCode:
    return ReasonCode.CANCELLED_WITH_PARENT if reason == _BY_PARENT else ReasonCode.CANCELLED_BY_OPERATOR


def _pause(reason: str) -> tuple[ReasonCode, StepMismatch | None]:
    if reason.startswith(_IS_MISMATCH):
        return ReasonCode.MISMATCH, _mismatch(reason)
    if re.fullmatch(_CRASHED, reason):
        return ReasonCode.CRASHED_PROCESSOR, None
    return ReasonCode.UNREADABLE if re.search(_UNREADABLE, reason) else ReasonCode.PAUSED_BY_OPERATOR, None


def _mismatch(reason: str) -> StepMismatch | None:
    found = re.fullmatch(_MISMATCH, reason)
    if found is None:
        return None
    number, recorded_kind, recorded_type, asked_kind, asked_type, ended_after = found.groups(default="")
    return StepMismatch(
        int(number), recorded_kind, _unquoted(recorded_type), asked_kind, _unquoted(asked_type), int(ended_after or 0)
    )


def _unquoted(text: str) -> str:
    return str(ast.literal_eval(text)) if text else ""


def _failure(execution: Execution) -> tuple[ReasonCode, FailedStep | None]:
    match execution.error_type:
        case "WorkflowTimeoutError":
            return ReasonCode.TIMED_OUT, None
        case "PayloadTooLargeError":
            return ReasonCode.TOO_LARGE, None
    step = _failed_step(execution)
    return (ReasonCode.CODE_FAILED if step is None else ReasonCode.STEP_FAILED), step


def _failed_step(execution: Execution) -> FailedStep | None:
    """The step that the error names, or the last one of the journal in the record whose error it quotes."""
    named = re.match(_STEP, execution.error)
    if named is not None and execution.error_type in _STEP_ERRORS:
        return FailedStep(int(named[1]), _unquoted(named[2]), named.end())
    for entry in reversed(execution.journal):
        if entry.error and entry.error in execution.error:
            return FailedStep(entry.step_number, entry.step_type, named.end() if named is not None else 0)
    return None
