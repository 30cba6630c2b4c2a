"""What is decided about a workflow does not depend on the words of its record: all of them replaced, it is the same."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from durablectl.cli.render.status_sentence import is_cancelling
from durablectl.cli.render.why import verdict
from durablectl.cli.render.why_evidence import evidence, remedies
from durablectl.control.retry import split
from durablectl.model.codec import decode_execution, encode_entry, encode_execution
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.message_types import Schemas
from durablectl.model.reason_codes import CANCELLATIONS, ReasonCode
from durablectl.model.records import Execution, FailedStep, JournalEntry, PendingWait, StepMismatch
from durablectl.model.status import Status
from durablectl.model.termination import end_execution, interrupted_children
from durablectl.query import LiveContext
from durablectl.query.error_clusters import ParsedError
from durablectl.query.view_builder import workflow_view
from durablectl.query.why import explain_view
from durablectl.storage.records.journal import JournalRange
from helpers.views import NOW, PROCESSORS, S

WORDS = frozenset({"reason", "cancel_reason", "error", "error_type", "traceback"})
OTHER_WORDS = (
    "x",
    "cancelling: x",
    "its parent was cancelled",
    "crashed its processor 5 times",
    "NonDeterminismError: step 2 is recorded as 'a', but the code now ends after 1 steps",
    "Step 0 'a' failed: boom",
    "interrupted by a cancellation",
    "no service answers",
    "Cancelled",
    "TimeoutError",
    "TerminalError",
    "WorkflowTimeoutError",
    "StepError",
    "ServiceError 404",
)
AT = NOW - 60 * S


def entry(number, kind=StepKind.STEP, code="", **changes):
    error = "boom" if code else ""
    made = JournalEntry(number, f"{kind}:{number}", kind, error=error, error_type="E" if code else "", reason_code=code)
    return replace(made, started_at=AT, finished_at=AT + S, **changes)


JOURNAL = [
    entry(0, StepKind.CHILD, ReasonCode.INTERRUPTED, awaited_id="a-1"),
    entry(1, StepKind.CHILD, ReasonCode.CHILD_CANCELLED, awaited_id="b-1"),
    entry(2, code=ReasonCode.ATTEMPT_FAILED, attempts=3),
    entry(3, code=ReasonCode.INTERRUPTED),
    entry(4, StepKind.CALL, ReasonCode.FINAL_ERROR, attempts=1),
    entry(5, StepKind.COMPENSATION, ReasonCode.ATTEMPT_FAILED),
]


def record(status, code="", **changes):
    made = Execution("w", "async_workflow", status, reason="words", reason_code=code, error="words", error_type="E")
    return replace(made, created_at=AT, started_at=AT, updated_at=AT, journal=JOURNAL, **changes)


RETRY = PendingWait(WaitKind.RETRY, "s", 2, NOW + S, 2, "words", reason_code=ReasonCode.NO_SERVICE)
RECORDS = {
    **{str(code): record(Status.PAUSED, code) for code in ReasonCode if code not in CANCELLATIONS},
    **{f"{code} ended": record(Status.CANCELLED, code) for code in sorted(CANCELLATIONS)},
    **{f"{code} under way": record(Status.RUNNING, code, cancel_requested=True) for code in sorted(CANCELLATIONS)},
    "step": record(Status.FAILED, ReasonCode.STEP_FAILED, failed_step=FailedStep(4, "call:4")),
    "other step": record(Status.FAILED, ReasonCode.STEP_FAILED, failed_step=FailedStep(2, "step:2")),
    "code": record(Status.FAILED, ReasonCode.CODE_FAILED),
    "late": record(Status.FAILED, ReasonCode.TIMED_OUT),
    "mismatch with details": record(Status.PAUSED, ReasonCode.MISMATCH, mismatch=StepMismatch(2, "step", "a", "", "b")),
    "retrying": record(Status.RUNNING, waiting_for=RETRY),
    "running": record(Status.RUNNING, owner="host-4711-c0ffee", current_step=6, current_step_type="s"),
}


def rewritten(made, words):
    """The record and all within it, with ``words`` wherever it has some."""
    changes = {}
    for name in (each.name for each in fields(made)):
        value = getattr(made, name)
        if name in WORDS and value:
            changes[name] = words
        elif isinstance(value, list) and value and isinstance(value[0], JournalEntry | PendingWait):
            changes[name] = [rewritten(each, words) for each in value]
        elif isinstance(value, PendingWait):
            changes[name] = rewritten(value, words)
    return replace(made, **changes)


def decided(made):
    """Everything that programs decide about a stored record."""
    execution = decode_execution(encode_execution(made, [encode_entry(each) for each in made.journal]), "w")
    entries = execution.journal
    view = workflow_view(execution, 1, Schemas(), JournalRange(entries, 0, len(entries)))
    why = explain_view(view, LiveContext(PROCESSORS), NOW)
    kept, dropped = split(entries, execution, None)
    failure = ParsedError.from_view(view)
    code = view.reason_code
    end_execution(execution, Status.CANCELLED, NOW, journal_length=0)
    return {
        "cause": why.cause,
        "step": None if why.step is None else (why.step.step_number, why.is_final),
        "is_cancelling": is_cancelling(view),
        "remedies": [each.command for each in remedies(why)],
        "facts": [at for at, _ in evidence(why, NOW)],
        "kept": [each.step_number for each in kept],
        "dropped": [each.step_number for each in dropped],
        "children": interrupted_children(entries),
        "failure": (failure.step_number, failure.step_type),
        "codes": [code, execution.reason_code, *(each.reason_code for each in entries)],
    }


@pytest.mark.parametrize("words", OTHER_WORDS)
@pytest.mark.parametrize("name", RECORDS)
def test_rewritten_words_change_no_decision(name, words):
    assert decided(rewritten(RECORDS[name], words)) == decided(RECORDS[name])


def test_cancelled_workflow_has_the_words_of_its_operator():
    execution = Execution("w", "h", Status.RUNNING)
    execution.request_cancellation(ReasonCode.CANCELLED_BY_OPERATOR, "cancelling: twice")
    assert execution.reason == "cancelling: cancelling: twice"
    end_execution(execution, Status.CANCELLED, NOW, journal_length=0)
    assert (execution.reason, execution.cancel_reason) == ("cancelling: twice", "")
    assert execution.reason_code == ReasonCode.CANCELLED_BY_OPERATOR


def test_mismatch_sentence_is_made_from_its_details():
    paused = rewritten(RECORDS["mismatch with details"], "words")
    view = workflow_view(paused, 1, Schemas(), JournalRange(paused.journal, 0, len(paused.journal)))
    assert verdict(explain_view(view, LiveContext(), NOW), NOW) == (
        "It is paused because its code no longer fits its journal: "
        "step 2 is recorded as the step 'a', but the code now asks for the step 'b'."
    )
