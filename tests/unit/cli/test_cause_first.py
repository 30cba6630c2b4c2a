"""The cause of a failure comes before where it happened: what is cut off at the end of a line matters least."""

from __future__ import annotations

from dataclasses import replace

from durablectl.cli.render.status_sentence import error_text, status_sentence
from durablectl.cli.render.workflow_cells import detail
from durablectl.engine.operations.operation import step_error
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep, JournalEntry
from helpers import views


def failed(entry: JournalEntry, attempts: int) -> views.WorkflowView:
    error = step_error(entry)
    at = len(error.message) - len(error.error)
    return replace(
        views.FAILED,
        error=error.message,
        error_type="StepError",
        reason_code=ReasonCode.STEP_FAILED,
        failed_step=FailedStep(entry.step_number, entry.step_type, at),
        failed_attempts=attempts,
    )


def test_failed_step_shows_its_cause_before_its_place():
    once = failed(JournalEntry(0, "decline", attempts=1, error="card declined"), 1)
    assert error_text(once) == "card declined (step 0, 1 try)"
    assert detail(once, views.NOW).plain.startswith("card declined (step 0")
    assert "card declined (step 0, 1 try)" in status_sentence(once, views.NOW)
    thrice = failed(JournalEntry(4, "it's", attempts=3, error="no"), 3)
    assert error_text(thrice) == "no (step 4, 3 tries)"


def test_failed_child_shows_the_cause_of_its_own_step():
    inner = step_error(JournalEntry(1, "decline", attempts=2, error="card declined")).message
    assert error_text(failed(JournalEntry(2, "pay", error=inner), 0)) == "card declined (step 2, in a child)"


def test_retry_says_which_attempt_is_over():
    told = status_sentence(views.RETRYING, views.NOW)
    assert told == "retrying: no service answers (HelloService.SayHello, attempt 7 failed, next in 12 s)"
