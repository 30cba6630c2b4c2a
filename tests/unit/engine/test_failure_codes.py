"""Errors of an app are not taken for the engine's own, whatever the app calls its classes."""

from __future__ import annotations

import pytest

from durablectl.engine.operations.operation import step_error
from durablectl.engine.operations.step_operation import describe_failure
from durablectl.engine.worker.outcome import reason_of
from durablectl.errors import PayloadTooLargeError, StepError, StepTimeoutError, TerminalError, WorkflowTimeoutError
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep, JournalEntry
from durablectl.model.retry_policy import STEP_RETRY

STEP = StepError("Step 3 'pay' failed: no", step_number=3, step_type="pay", error="no")


def named(name, base=Exception):
    return type(name, (base,), {})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("no"), ReasonCode.ATTEMPT_FAILED),
        (TimeoutError(), ReasonCode.TIMED_OUT),
        (named("TimeoutError")("the bank's"), ReasonCode.ATTEMPT_FAILED),
        (named("Cancelled")("by the customer"), ReasonCode.ATTEMPT_FAILED),
        (named("TerminalError")(), ReasonCode.ATTEMPT_FAILED),
        (TerminalError("no"), ReasonCode.FINAL_ERROR),
        (named("CardDeclined", TerminalError)("no"), ReasonCode.FINAL_ERROR),
    ],
)
def test_code_of_an_attempt(error, code):
    failure = describe_failure(error, STEP_RETRY)
    assert (failure.reason_code, failure.error_type) == (code, type(error).__name__)
    assert failure.is_terminal == (code == ReasonCode.FINAL_ERROR)


@pytest.mark.parametrize("name", ["Cancelled", "TimeoutError", "Cancelled child"])
def test_recorded_error_named_like_the_engines_is_a_plain_step_error(name):
    entry = JournalEntry(1, "s", error="no", error_type=name, reason_code=ReasonCode.ATTEMPT_FAILED)
    assert type(step_error(entry)) is StepError


def test_recorded_time_limit_is_a_step_timeout_whatever_its_words():
    entry = JournalEntry(1, "s", error="no", error_type="Late", reason_code=ReasonCode.TIMED_OUT)
    assert type(step_error(entry)) is StepTimeoutError


def raised(error, cause, *, suppress=False):
    """``error`` as it is after ``raise error`` while ``cause`` was handled; ``suppress``: ``raise error from None``."""
    error.__context__, error.__suppress_context__ = cause, suppress
    return error


@pytest.mark.parametrize(
    ("error", "code", "step"),
    [
        (STEP, ReasonCode.STEP_FAILED, FailedStep(3, "pay", len("Step 3 'pay' failed: "))),
        (raised(ValueError("declined"), STEP), ReasonCode.STEP_FAILED, FailedStep(3, "pay")),
        (raised(ValueError("declined"), raised(KeyError(), STEP)), ReasonCode.STEP_FAILED, FailedStep(3, "pay")),
        (raised(ValueError("no"), STEP, suppress=True), ReasonCode.CODE_FAILED, None),
        (ValueError("Step 3 'pay' failed: no"), ReasonCode.CODE_FAILED, None),
        (StepError("made by the app"), ReasonCode.CODE_FAILED, None),
        (WorkflowTimeoutError("late"), ReasonCode.TIMED_OUT, None),
        (named("WorkflowTimeoutError")("late"), ReasonCode.CODE_FAILED, None),
        (PayloadTooLargeError("big"), ReasonCode.TOO_LARGE, None),
    ],
)
def test_reason_of_a_failed_workflow(error, code, step):
    assert reason_of(error) == (code, step)
