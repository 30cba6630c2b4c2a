"""Records of versions that stored no reason codes get the code that their sentences stand for when they are read."""

from __future__ import annotations

import pytest

from durablectl._proto import durable_pb2 as pb
from durablectl.model.codec import decode_entry, decode_execution, encode_execution
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep, StepMismatch


def read(**fields):
    return decode_execution(pb.ExecutionState(invocation_id="w", handler="h", **fields).SerializeToString(), "w")


@pytest.mark.parametrize(
    ("reason", "code", "mismatch"),
    [
        ("", ReasonCode.PAUSED_BY_OPERATOR, None),
        ("lunch", ReasonCode.PAUSED_BY_OPERATOR, None),
        ("cancelling the order first", ReasonCode.PAUSED_BY_OPERATOR, None),
        ("it crashed its processor 5 times today", ReasonCode.PAUSED_BY_OPERATOR, None),
        ("crashed its processor 5 times", ReasonCode.CRASHED_PROCESSOR, None),
        ("Entry 3 of w cannot be read: its 5 bytes are not a durable.JournalEntry.", ReasonCode.UNREADABLE, None),
        (
            "NonDeterminismError: step 12 is recorded as the call 'S.Pay', but the code now asks for the step \"it's\"",
            ReasonCode.MISMATCH,
            StepMismatch(12, "call", "S.Pay", "step", "it's"),
        ),
        (
            "NonDeterminismError: step 3 is recorded as 'a\\\\b', but the code now ends after 2 steps",
            ReasonCode.MISMATCH,
            StepMismatch(3, "", "a\\b", ended_after=2),
        ),
        ("NonDeterminismError: in words of another version", ReasonCode.MISMATCH, None),
    ],
)
def test_a_pause(reason, code, mismatch):
    execution = read(status="paused", reason=reason)
    assert (execution.reason_code, execution.mismatch, execution.reason) == (code, mismatch, reason)
    if mismatch is not None:
        assert execution.reason == f"NonDeterminismError: {mismatch.sentence()}"


@pytest.mark.parametrize(
    ("reason", "code", "given"),
    [
        ("cancelling", ReasonCode.CANCELLED_BY_OPERATOR, ""),
        ("cancelling: late", ReasonCode.CANCELLED_BY_OPERATOR, "late"),
        ("cancelling: cancelling: twice", ReasonCode.CANCELLED_BY_OPERATOR, "cancelling: twice"),
        ("cancelling: its parent was cancelled", ReasonCode.CANCELLED_WITH_PARENT, "its parent was cancelled"),
    ],
)
@pytest.mark.parametrize("status", ["running", "suspended", "pending"])
def test_a_cancellation_under_way(status, reason, code, given):
    execution = read(status=status, reason=reason, cancel_requested=True)
    assert (execution.reason_code, execution.cancel_reason, execution.reason) == (code, given, reason)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", ReasonCode.CANCELLED_BY_OPERATOR),
        ("late", ReasonCode.CANCELLED_BY_OPERATOR),
        ("its parent was cancelled", ReasonCode.CANCELLED_WITH_PARENT),
    ],
)
def test_a_cancelled_workflow(reason, code):
    assert read(status="cancelled", reason=reason).reason_code == code


@pytest.mark.parametrize(
    ("error", "error_type", "code", "step"),
    [
        ("", "", ReasonCode.CODE_FAILED, None),
        ("boom", "ValueError", ReasonCode.CODE_FAILED, None),
        ("The workflow had not ended after 5 s.", "WorkflowTimeoutError", ReasonCode.TIMED_OUT, None),
        ("The output of 9 bytes cannot be stored: x", "PayloadTooLargeError", ReasonCode.TOO_LARGE, None),
        ("Step 4 'pay' failed after 3 attempts: no", "StepError", ReasonCode.STEP_FAILED, FailedStep(4, "pay", 38)),
        ("Step 4 'it\\'s' failed: no", "StepTimeoutError", ReasonCode.STEP_FAILED, FailedStep(4, "it's", 23)),
        ("The order broke: no money left", "OrderError", ReasonCode.STEP_FAILED, FailedStep(1, "pay")),
    ],
)
def test_a_failed_workflow(error, error_type, code, step):
    journal = [
        pb.JournalEntry(step_number=0, step_type="ask", error="never mind", error_type="ValueError"),
        pb.JournalEntry(step_number=1, step_type="pay", error="no money", error_type="ValueError"),
    ]
    execution = read(status="failed", error=error, error_type=error_type, journal=journal)
    assert (execution.reason_code, execution.failed_step) == (code, step)
    if step is not None and step.message_at:
        assert execution.error[step.message_at :] == "no"


@pytest.mark.parametrize(
    ("kind", "error", "error_type", "code"),
    [
        ("step", "boom", "ValueError", ReasonCode.ATTEMPT_FAILED),
        ("", "of another implementation", "", ReasonCode.ATTEMPT_FAILED),
        ("step", "interrupted by a cancellation", "Cancelled", ReasonCode.INTERRUPTED),
        ("step", "the customer did", "Cancelled", ReasonCode.ATTEMPT_FAILED),
        ("step", "no result within 2 s", "TimeoutError", ReasonCode.TIMED_OUT),
        ("signal", "nothing came within 2 s", "TimeoutError", ReasonCode.TIMED_OUT),
        ("awakeable", "denied", "Rejected", ReasonCode.REJECTED),
        ("step", "denied", "Rejected", ReasonCode.ATTEMPT_FAILED),
        ("child", "the workflow c was cancelled", "Cancelled child", ReasonCode.CHILD_CANCELLED),
        ("child", "boom", "TerminalError", ReasonCode.CHILD_FAILED),
        ("call", "no service answers", "Unavailable", ReasonCode.NO_SERVICE),
        ("call", "no answer within 30 s", "Unavailable", ReasonCode.NO_ANSWER),
        ("call", "unknown", "ServiceError 404", ReasonCode.FINAL_ERROR),
        ("call", "overloaded", "ServiceError 503", ReasonCode.ATTEMPT_FAILED),
        ("step", "no", "TerminalError", ReasonCode.FINAL_ERROR),
        ("step", "too long", "PayloadTooLargeError", ReasonCode.TOO_LARGE),
        ("step", "", "", ""),
    ],
)
def test_a_step(kind, error, error_type, code):
    entry = pb.JournalEntry(step_number=1, step_type="s", kind=kind, error=error, error_type=error_type)
    assert decode_entry(entry.SerializeToString()).reason_code == code


def test_a_retry():
    waits = [
        pb.Waiting(kind="retry", name="S.Pay", error="no service answers"),
        pb.Waiting(kind="retry", name="pay", error="boom"),
        pb.Waiting(kind="sleep", name="sleep"),
    ]
    execution = read(status="suspended", waits=waits, waiting_for=waits[0])
    assert [w.reason_code for w in execution.waits] == [ReasonCode.NO_SERVICE, ReasonCode.ATTEMPT_FAILED, ""]
    assert execution.waiting_for.reason_code == ReasonCode.NO_SERVICE


@pytest.mark.parametrize("status", ["pending", "running", "suspended", "completed"])
def test_what_needs_no_reason_has_none_and_takes_no_room(status):
    execution = read(status=status)
    assert execution.reason_code == ""
    numbers = {field.number for field, _ in pb.ExecutionState.FromString(encode_execution(execution)).ListFields()}
    assert numbers.isdisjoint({62, 63, 64, 65})


def test_a_code_of_a_later_version_stays():
    execution = read(status="paused", reason="crashed its processor 5 times", reason_code="on_a_strike")
    assert execution.reason_code == "on_a_strike"
