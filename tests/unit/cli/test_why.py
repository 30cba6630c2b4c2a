"""`wf why`: the rules and what they say, with a fixed clock."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from durablectl.cli.main import app
from durablectl.cli.render.why import verdict, why_page, why_text
from durablectl.cli.render.why_evidence import evidence, remedies
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep
from durablectl.query import LiveContext, StatusCause, WaitingView
from durablectl.query.why import explain_view
from helpers import views
from helpers.paths import ROOT
from helpers.views import ALL, NOW, PROCESSORS, S, step

LIVE = LiveContext(PROCESSORS)
FULL = LiveContext([views.replace(PROCESSORS[0], busy=100), PROCESSORS[1]], pending_before=12)


def why(view, live=LIVE):
    return explain_view(view, live, NOW)


def told(view, live=LIVE):
    return verdict(why(view, live), NOW)


def commands(view, live=LIVE):
    return [remedy.command for remedy in remedies(why(view, live))]


def facts(view, live=LIVE):
    return [fact.text for fact in evidence(why(view, live), NOW)]


SENTENCES = {
    "pending": "Nothing is wrong: it has been waiting for 2.0 s, and a processor has room for it.",
    "running": "It is at work: running step 2 HelloService.SayHello for 2.0 s.",
    "retrying": "Step 2 HelloService.SayHello has failed 7 times, the next attempt is in 12 s: no service answers.",
    "orphaned": "The processor host-4711-c0ffee that ran it is gone; 1 live processor can take it over.",
    "sleeping": "Nothing is wrong: it is sleeping, wakes in 3 d 4 h.",
    "asking": "It is waiting for the awakeable approval.",
    "paused": "It is paused because its code no longer fits its journal: step 1 is recorded as the step 'a', "
    "but the code now asks for the step 'b'.",
    "completed": "Nothing is wrong: completed in 3.4 s, 3 steps; "
    "the slowest was step 0 HelloService.SayHello with 3.4 ms.",
    "failed": "It failed because step 1 charge failed after 3 attempts: ValueError: no money.",
    "cancelled": "It was cancelled by an operator: ordered by mistake.",
}
FIRST_COMMANDS = {
    "pending": ["wf watch pending-0001"],
    "running": ["wf watch running-0001"],
    "retrying": ["run service APP"],
    "orphaned": [],
    "sleeping": ["wf get sleeping-0001"],
    "asking": ["wf get asking-0001"],
    "paused": ["wf resume paused-0001"],
    "completed": ["wf timeline completed-0001"],
    "failed": ["wf retry failed-0001"],
    "cancelled": ["wf retry cancelled-0001"],
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_and_a_command_for_every_state(name):
    assert told(ALL[name]) == SENTENCES[name]
    assert commands(ALL[name])[:1] == [f"durablectl {command}" for command in FIRST_COMMANDS[name]]


def test_pending_workflow_names_processors_without_its_handler():
    lonely = LiveContext(PROCESSORS[1:])
    assert told(views.UNHEARD, lonely) == (
        "It has been waiting for 2.0 s because no live processor has its handler async_workflow."
    )
    assert facts(views.UNHEARD, lonely)[-1] == "1 live processor has reminder"
    assert facts(views.UNHEARD, LiveContext())[-1] == "no processor is live at all"
    assert commands(views.UNHEARD, LiveContext()) == ["durablectl run processor APP", "durablectl processors"]


def test_misspelt_handler_gets_a_suggestion():
    assert "a live one has checkout, which is spelt alike" in facts(views.replace(views.UNHEARD, handler="chekout"))


def test_full_processors_are_shown_with_slots_and_queue():
    assert told(views.PENDING, FULL) == (
        "It has been waiting for 2.0 s because the only live processor with its handler is full (100 slots); "
        "at most 12 workflows of its handler came before it."
    )
    assert facts(views.PENDING, FULL)[-2:] == [
        "the processor host-4711-c0ffee has 100 of 100 slots taken",
        "12 older workflows of its handler are pending too",
    ]
    assert commands(views.PENDING, FULL)[0] == "durablectl run processor APP"


def test_long_pending_with_free_slot_suggests_redelivery():
    late = views.replace(views.PENDING, updated_at=NOW - 60 * S)
    assert why(late).cause is StatusCause.STUCK
    assert commands(late)[0] == "durablectl wf resume pending-0001"


def test_delayed_start_shows_its_time():
    delayed = views.replace(views.PENDING, waiting_for=WaitingView("start", "async_workflow", -1, NOW + 60 * S))
    assert told(delayed, LiveContext()) == (
        "Nothing is wrong: its start was delayed until 2026-11-22T22:01:00.000Z, which is in 1 min 00 s."
    )
    assert commands(delayed, LiveContext()) == ["durablectl wf watch pending-0001"]


def test_time_limit_names_the_wait():
    late = views.replace(
        views.ASKING, status="failed", error_type="WorkflowTimeoutError", error="It had not ended after 5 s.",
        reason_code=ReasonCode.TIMED_OUT,
        waiting_for=None, finished_at=NOW,
    )  # fmt: skip
    assert told(late).startswith(
        "It failed by its own time limit, while step 1 awakeable:approval was still waiting: It"
    )
    assert commands(late) == ["durablectl wf timeline asking-0001", "durablectl wf retry asking-0001"]


def test_code_error_is_shown_with_its_location():
    view = views.replace(views.FAILED, reason_code=ReasonCode.CODE_FAILED, failed_step=None)
    assert told(view) == "It failed in its own code, not in a step: ValueError: no money\\x07."
    assert facts(view)[-1] == "it ended as failed, raised in shop.py, line 7, in checkout"


@pytest.mark.parametrize(
    ("error_type", "code", "attempts", "rule"),
    [
        ("ValueError", ReasonCode.ATTEMPT_FAILED, 3, "its retry rule allows 3 attempts"),
        ("UsageError", ReasonCode.ATTEMPT_FAILED, 1, "its retry rule, or the kind of error, allows no second attempt"),
        ("TerminalError", ReasonCode.FINAL_ERROR, 1, "TerminalError is an error that is not tried again"),
        ("ServiceError 404", ReasonCode.FINAL_ERROR, 1, "ServiceError 404 is an error that is not tried again"),
    ],
)
def test_failed_step_shows_whether_it_can_be_retried(error_type, code, attempts, rule):
    failed = views.replace(views.FAILED.journal[1], error_type=error_type, reason_code=code, attempts=attempts)
    assert f"step 1 charge failed for good: {rule}" in facts(views.replace(views.FAILED, journal=[step(0), failed]))


def test_error_names_its_own_step_among_similar_failures():
    first, last = (step(number, step_type="charge", error="no", error_type="E") for number in (1, 2))
    view = views.replace(
        views.FAILED,
        error_type="StepError",
        error="Step 1 'charge' failed after 3 attempts: no",
        failed_step=FailedStep(1, "charge", 41),
        journal=[first, last],
    )
    assert why(view).step is first


def test_pause_names_its_origin():
    by_hand = views.replace(views.PAUSED, reason="", reason_code=ReasonCode.PAUSED_BY_OPERATOR, owner="")
    assert told(by_hand) == "It was paused by an operator, who gave no reason."
    assert commands(by_hand) == ["durablectl wf resume paused-0001"]
    crashing = views.replace(
        views.PAUSED, reason="crashed its processor 5 times", reason_code=ReasonCode.CRASHED_PROCESSOR
    )
    assert told(crashing) == "It is paused because it crashed its processor 5 times after step 0 HelloService.SayHello."
    in_flight = views.replace(by_hand, owner="host-4711-c0ffee", current_step=1, current_step_type="charge")
    assert told(in_flight).endswith("step 1 charge is in flight and ends first.")


PAUSES_OF_ENGINE = {
    ReasonCode.HANDLER_STUCK: (
        "its handler is stuck: it ran 1,000,000 callbacks",
        "It is paused because its handler is stuck: it ran 1,000,000 callbacks.",
    ),
    ReasonCode.ENGINE_FAILED: (
        "durablectl failed on it 5 times: KeyError: 'x'",
        "It is paused because durablectl failed on it 5 times: KeyError: 'x'.",
    ),
    ReasonCode.UNREADABLE: (
        "The journal entry 3 of x cannot be read: it is cut short",
        "It is paused because its journal cannot be used: The journal entry 3 of x cannot be read: it is cut short.",
    ),
    ReasonCode.TOO_LARGE: (
        "durablectl failed on it 5 times: PayloadTooLargeError: 2 MB",
        (
            "It is paused because its record does not fit into a message: durablectl failed on it 5 times: "
            "PayloadTooLargeError: 2 MB."
        ),
    ),
}


@pytest.mark.parametrize("code", PAUSES_OF_ENGINE)
def test_pause_by_the_engine_is_no_operators_pause(code):
    reason, sentence = PAUSES_OF_ENGINE[code]
    paused = views.replace(views.PAUSED, reason=reason, reason_code=code, mismatch=None, owner="")
    assert why(paused).cause is StatusCause.PAUSED_BY_ENGINE
    assert told(paused) == sentence
    assert sorted(commands(paused)) == ["durablectl wf get paused-0001", "durablectl wf resume paused-0001"]


def test_pause_for_a_later_versions_reason_names_no_origin():
    paused = views.replace(views.PAUSED, reason="out of budget", reason_code="out_of_budget", owner="")
    assert told(paused) == "It is paused: out of budget."


def test_cancellation_without_compensations_says_why():
    view = views.replace(
        views.CANCELLED, error="No compensation was run: entry 3 cannot be read.", error_type="UnreadableError"
    )
    assert told(view) == (
        "It was cancelled by an operator: ordered by mistake; No compensation was run: entry 3 cannot be read."
    )


def test_what_is_too_large_is_not_called_the_codes_failure():
    view = views.replace(
        views.FAILED,
        reason_code=ReasonCode.TOO_LARGE,
        failed_step=None,
        error_type="PayloadTooLargeError",
        error="The output of 2,000,000 bytes cannot be stored.",
    )
    assert told(view) == (
        "It failed because what it made is too large to be stored: "
        "PayloadTooLargeError: The output of 2,000,000 bytes cannot be stored."
    )


BLOCKED = views.replace(
    PROCESSORS[0], blocked_since=NOW - 12 * S, blocked_by="step 0 'charge' of workflow x, at a.py:4"
)


def test_blocked_processor_is_named_with_what_blocks_it():
    live = LiveContext([BLOCKED, PROCESSORS[1]])
    running = views.replace(views.RUNNING, owner=BLOCKED.processor_id)
    assert why(running, live).cause is StatusCause.BLOCKED
    assert told(running, live) == (
        "It does not move: the event loop of its processor host-4711-c0ffee has been blocked for 12 s "
        "by step 0 'charge' of workflow x, at a.py:4."
    )
    assert "the event loop of host-4711-c0ffee was blocked by step 0 'charge' of workflow x, at a.py:4" in facts(
        running, live
    )
    assert commands(running, live)[0] == "durablectl processors"


def test_pending_workflow_waits_for_a_blocked_processor():
    live = LiveContext([BLOCKED, PROCESSORS[1]])
    assert told(views.PENDING, live) == (
        "It has been waiting for 2.0 s: the event loop of the only live processor with room for it has been blocked "
        "for 12 s by step 0 'charge' of workflow x, at a.py:4."
    )
    assert commands(views.PENDING, live)[:2] == ["durablectl run processor APP", "durablectl processors"]
    both = LiveContext([BLOCKED, views.replace(BLOCKED, processor_id="other", blocked_since=NOW - S)])
    assert "the event loops of the 2 live processors with room for it are blocked, one" in told(views.PENDING, both)
    one_free = LiveContext([BLOCKED, views.replace(PROCESSORS[0], processor_id="free")])
    assert why(views.PENDING, one_free).cause is StatusCause.STARTING


def test_json_schema_knows_every_cause():
    schema = json.loads((ROOT / "docs/schemas/wf-why.json").read_text())
    assert set(schema["properties"]["cause"]["enum"]) == set(StatusCause)


def test_cancellation_names_its_origin():
    view = views.replace(views.CANCELLED, reason_code=ReasonCode.CANCELLED_WITH_PARENT, parent_id="above")
    assert told(view) == "It was cancelled because its parent above was."
    assert commands(view)[0] == "durablectl wf why above"
    failed = views.replace(views.CANCELLED, error="no way back", error_type="CompensationFailed")
    assert told(failed).endswith("ordered by mistake; a compensation failed: no way back.")
    undone = step(1, kind="compensation", error="no way back")
    assert "1 compensation had run, of which 1 failed" in facts(views.replace(failed, journal=[step(0), undone]))


def test_finished_wait_shows_why_workflow_does_not_resume():
    over = views.replace(views.SLEEPING, waiting_for=WaitingView("sleep", "sleep", 1, NOW - 60 * S))
    assert why(over).cause is StatusCause.STUCK
    assert why(over, FULL).cause is StatusCause.BUSY
    assert why(over, LiveContext()).cause is StatusCause.NO_PROCESSOR
    assert told(views.ASKING, LiveContext()).endswith("but then it cannot go on: no live processor has its handler.")


def test_reason_and_fix_of_the_child_come_first():
    waits = WaitingView("child", "invoke:checkout", 1, awaited_id="paused-0001")
    parent = views.replace(views.SLEEPING, waiting_for=waits)
    child = why(views.replace(views.PAUSED, reason="for lunch", reason_code=ReasonCode.PAUSED_BY_OPERATOR, owner=""))
    found = LiveContext(PROCESSORS, child=child)
    assert told(parent, found).endswith(" paused-0001. Of that child: It was paused by an operator: for lunch.")
    assert commands(parent, found)[0] == "durablectl wf resume paused-0001"
    assert "child: it was paused" in facts(parent, found)


def test_unknown_status_is_attributed_to_its_program():
    odd = views.replace(views.FOREIGN, status="napping")
    assert told(odd) == "Its status is 'napping', which only the program that wrote it can explain."


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ALL)
def test_why_fits_the_terminal(name, width):
    page = why_page(why(ALL[name]), NOW, width).plain
    assert all(len(line) <= width for line in page.splitlines())
    assert "\x1b" not in page


def test_a_page_at_80_columns():
    assert why_page(why(views.FAILED), NOW, 80, ["--namespace", "shop"]).plain.splitlines() == [
        "checkout  failed-0001",
        "✗ It failed because step 1 charge failed after 3 attempts: ValueError: no money.",
        "",
        "21:57:55Z  2 min ago  it was started",
        "21:57:56Z  2 min ago  a processor took it up for the first time",
        "21:58:20Z  1 min ago  step 1 charge began",
        "21:58:23Z  1 min ago  step 1 charge failed for good: its retry rule allows 3",
        "                      attempts",
        "21:59:00Z  1 min ago  it ended as failed",
        "",
        "# go on from step 1, once the cause is mended",
        "durablectl wf retry failed-0001 --namespace shop",
        "# its request and the traceback",
        "durablectl wf get failed-0001 --steps 1 --namespace shop",
    ]


def test_piped_why_prints_one_line_per_fact():
    lines = why_text(why(views.CANCELLED), NOW).splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        *("Id", "Handler", "Status", "Cause", "Verdict"), *["Evidence"] * 3, *["Command"] * 2
    ]  # fmt: skip
    assert lines[5] == "Evidence\t2026-11-22T21:57:55.000Z\tit was started"


def test_help_has_an_example():
    assert "durablectl wf why order-17" in CliRunner().invoke(app, ["wf", "why", "--help"]).stdout
