"""What a terminal shows of steered workflows and of schedules, with a fixed clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durablectl.cli.render.bulk import bulk_summary, result_line, selection_table
from durablectl.cli.render.list import workflow_table
from durablectl.cli.render.schedules import next_start, schedule_page, schedule_table, timing
from durablectl.cli.render.status_sentence import progress_sentence, status_sentence
from durablectl.cli.render.workflow import workflow_page
from durablectl.cli.render.workflow_cells import activity
from durablectl.control import OperationResult, ScheduleView
from durablectl.errors import NotFoundError
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.schedules import Schedule
from durablectl.query import DroppedView, SelectedWorkflow, WaitingView
from helpers import views
from helpers.views import NOW, S, step

HOUR = 3600 * S


def schedule(name: str, next_in: int = 0, **changes: object) -> ScheduleView:
    made = Schedule(name, "daily_report", created_at=NOW - 50 * HOUR, **changes)
    return ScheduleView(made, NOW + next_in if next_in else 0)


SCHEDULES = [
    schedule("beat", paused=True, every=300, fired=1234, last_fired_at=NOW - 90 * S),
    schedule("report", 11 * HOUR, cron="30 8 * * 1-5", time_zone="Europe/Berlin", overlap="allow", skipped=2),
]


def test_schedules_at_120_columns():
    assert schedule_table(SCHEDULES, NOW, 120).plain.splitlines() == [
        "  NAME    HANDLER       WHEN                        NEXT       LAST       FIRED  SKIPPED",
        "‖ beat    daily_report  every 5 min                 paused     1 min ago  1,234        0",
        "▶ report  daily_report  30 8 * * 1-5 Europe/Berlin  in 11h00m                 0        2",
    ]


def test_narrow_schedules_drop_the_least_important_columns():
    lines = schedule_table(SCHEDULES, NOW, 60).plain.splitlines()
    assert lines[0].split() == ["NAME", "HANDLER", "WHEN", "SKIPPED"]
    assert all(len(line) <= 60 for line in lines)


def test_a_schedule_in_full():
    assert schedule_page(SCHEDULES[1], NOW).plain.splitlines() == [
        "Name       report",
        "Handler    daily_report",
        "When       30 8 * * 1-5 Europe/Berlin",
        "Overlap    allow: starts whatever still runs",
        "Created    2026-11-20T20:00:00.000Z  2 d ago",
        "Fired      0 times",
        "Skipped    2 times",
        "",
        "▶ next start in 11 h 00 min, at 2026-11-23T09:00:00.000Z",
    ]
    assert schedule_page(SCHEDULES[0], NOW).plain.endswith("‖ paused: it starts nothing until it is resumed")


@pytest.mark.parametrize(
    ("every", "words"),
    [(1, "every 1 s"), (90, "every 1 min 30 s"), (300, "every 5 min"), (7200, "every 2 h"), (86_400, "every 1 d")],
)
def test_intervals(every, words):
    assert timing(schedule("x", every=every)) == words


def test_the_next_start():
    assert next_start(SCHEDULES[0], NOW, relative=True) == ""
    told = "; it starts daily_report next at 2026-11-23T09:00:00.000Z"
    assert next_start(SCHEDULES[1], NOW, relative=False) == told
    assert next_start(SCHEDULES[1], NOW, relative=True) == f"{told}, in 11 h 00 min"


IN_FLIGHT = replace(views.RUNNING, status="paused", reason="lunch")
CANCELLING = replace(views.RUNNING, reason="cancelling: wrong date", reason_code=ReasonCode.CANCELLED_BY_OPERATOR)
CHILD = WaitingView("child", "invoke:ship", 1, awaited_id="0a1b2-c3d4e")


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (IN_FLIGHT, "paused: lunch (step 2 HelloService.SayHello is in flight and ends first)"),
        (replace(IN_FLIGHT, owner=""), "paused: lunch"),
        (replace(views.SLEEPING, status="paused", owner=""), "paused"),
        (CANCELLING, "cancelling: wrong date, running step 2 HelloService.SayHello"),
        (replace(CANCELLING, owner=""), "cancelling: wrong date, once a processor picks it up"),
        (
            replace(CANCELLING, waiting_for=WaitingView("takeover", "host-1")),
            "cancelling: wrong date, waiting: its processor host-1 is gone, and no other has taken it over yet",
        ),
        (replace(views.PENDING, waiting_for=WaitingView("start", "x", until=NOW + 90 * S)), "starts in 1 min 30 s"),
        (replace(views.SLEEPING, waiting_for=CHILD), "waiting for the child workflow ship 0a1b2-c3d4e"),
    ],
)
def test_sentence_for_steered_workflow(view, sentence):
    assert status_sentence(view, NOW) == sentence
    assert progress_sentence(view, NOW) == sentence


def test_list_shows_reason_of_paused_or_cancelling():
    assert activity(IN_FLIGHT, NOW).plain == "lunch"
    assert activity(CANCELLING, NOW).plain == "cancelling: wrong date"
    assert activity(replace(views.SLEEPING, status="paused", owner=""), NOW).plain == ""
    assert workflow_table([IN_FLIGHT], NOW, 120).plain.endswith("  lunch")


def test_the_page_marks_the_step_in_flight():
    rows = [line for line in workflow_page(IN_FLIGHT, NOW, 80).plain.splitlines() if "in flight, ends first" in line]
    assert [row.split()[:3] for row in rows] == [["‖", "2", "HelloService.SayHello"]]


def test_the_page_names_relatives_in_full_and_the_command_that_answers():
    child = f"child-{'x' * 90}"
    view = replace(
        views.ASKING,
        waiting_for=replace(views.ASKING.waiting_for, awaited_id="asking-0001.approval"),
        parent_id="p" * 120,
        children=[child],
        journal=[*views.ASKING.journal, step(2, kind="send", step_type="send:ship", response=child)],
        schedule="nightly",
        restarted_from="old-1",
        restarted_as="new-1",
    )
    children = [views.workflow("failed", invocation_id=child, error="no ship")]
    lines = workflow_page(view, NOW, 80, children=children).plain.splitlines()
    assert f"Parent     {'p' * 120}" in lines
    assert lines[-1] == f"     └ ✗ {child}  ✗  no ship"
    for line in ("Children   1: 1 failed", "Schedule   nightly", "Restart of old-1", "Restarted  as new-1"):
        assert line in lines
    command = lines.index("  durablectl wf resolve asking-0001.approval --data JSON")
    assert lines[command - 1] == "☾ waiting for the awakeable approval"


def test_each_of_several_waits_is_shown():
    both = replace(
        views.SLEEPING,
        total_steps=3,
        journal=[
            *views.SLEEPING.journal,
            step(
                2,
                kind="awakeable",
                step_type="awakeable:ok",
                request=None,
                response=None,
                finished_at=0,
                awaited_id="w.ok",
            ),
        ],
    )
    rows = workflow_page(both, NOW, 120).plain.splitlines()[-2:]
    assert "sleeping, wakes in" in rows[0]
    assert rows[1].endswith("waiting for w.ok")


def test_history_is_shown_on_request():
    dropped = DroppedView(NOW - 60 * S, "retried after: no money", [step(1, error="no money", response=None)])
    view = replace(views.COMPLETED, history=[dropped, replace(dropped, steps=[])])
    brief = workflow_page(view, NOW, 80).plain
    assert "Retried    2 times, see --history\n" in brief
    assert "Dropped" not in brief
    full = workflow_page(view, NOW, 80, history=True).plain
    assert "Retried    2 times\n" in full
    parts = full.split("Dropped 2026-11-22T21:59:00.000Z  1 min ago\nretried after: no money\n")
    assert "✗ 1  HelloService.SayHello" in parts[1]
    assert parts[2] == "  no step"


def test_bulk_results_and_summary():
    done = OperationResult("order-1", "paused", changed=True, message="Paused.")
    assert result_line("order-1", done, 10).plain == "✓ order-1     Paused."
    assert result_line("order-1000", NotFoundError("It is\ngone."), 10).plain == "✗ order-1000  It is\\ngone."
    assert bulk_summary(1, 1, 0, 0) == "1 workflow: 1 changed."
    assert bulk_summary(1200, 1000, 1, 9) == "1,200 workflows: 1,000 changed, 1 as it was, 9 failed, 190 not tried."


def test_a_selection_is_a_sample():
    some = [SelectedWorkflow(f"order-{number}", "checkout", "failed", NOW - number * HOUR) for number in range(3)]
    assert selection_table(some, 5, NOW, 80).plain.splitlines() == [
        "  ID       HANDLER   STATUS  AGE",
        "✗ order-0  checkout  failed   0s",
        "✗ order-1  checkout  failed   1h",
        "✗ order-2  checkout  failed   2h",
        "  and 2 more",
    ]
