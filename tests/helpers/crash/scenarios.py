"""What the crash sweep goes through: workflows for processors that die, operations for clients that die."""

from __future__ import annotations

from helpers.crash import drives
from helpers.crash.case import Scenario
from helpers.crash.drives import AWAKEABLE, W, nothing, operate, start_workflow

PROCESSORS = [
    Scenario("family", drives.family, {W: "completed"}),
    Scenario("fails", start_workflow("fails"), {W: "failed"}),
    Scenario("compensated", drives.compensated, {W: "cancelled"}),
    Scenario("compensated in work", drives.compensated_in_work, {W: "cancelled"}),
    Scenario("paused", drives.paused, {W: "completed"}),
    Scenario("sends", start_workflow("sends"), {W: "completed", "sent": "completed", "delayed": "completed"}),
    Scenario("late", start_workflow("late"), {W: "failed"}),
    # Completed, where it died before anything was recorded; the second entry is that of the sleep.
    Scenario("changed", start_workflow("changed"), {W: "paused or completed"}, left=(0, 1, 2)),
    Scenario("big", start_workflow("big"), {W: "failed"}, left=(4,)),
    Scenario("big, retained", start_workflow("big"), {W: "failed"}, left=(4,), options={"retention": 60}),
    Scenario("schedule", drives.fired),
    Scenario("stops", start_workflow("slow"), {W: "completed"}, stop_after=0.2),
    Scenario("stray", drives.unrouted_and_malformed_commands, {W: "completed"}, ailment="set_aside"),
    Scenario("without state", drives.without_state, {W: "completed"}),
    Scenario("early", drives.early, {W: "completed"}),
    Scenario("woken early", drives.woken_early, {W: "completed"}),
    Scenario("damaged journal", drives.damaged_journal, {W: "completed"}),
    Scenario("damaged and cancelled", drives.damaged_and_cancelled, {W: "cancelled"}, left=(2,)),
    Scenario("ended by hand", drives.ended_by_hand, {W: "cancelled"}, options={"retention": 60}),
    Scenario("died on", nothing, {W: "completed"}, drives.died_on),
    Scenario("races", start_workflow("races"), {W: "completed"}, has_gaps=True),
    Scenario("outpaced", start_workflow("outpaced"), {W: "completed"}, has_gaps=True),
    Scenario("retried", nothing, {W: "completed"}, drives.retried),
    Scenario("retried big", nothing, {W: "completed"}, drives.retried_big, left=(4,), options={"retention": 60}),
    Scenario("unfolded", nothing, {W: "cancelled"}, drives.unfolded),
    Scenario("bare", drives.bare, {W: "completed"}, is_bare=True),
]
CLIENTS = [
    Scenario(
        "start",
        nothing,
        {W: "completed"},
        operation=operate("start", "small", 0.0, W),
        is_bare=True,
        has_processor=False,
    ),
    Scenario(
        "start with a message", nothing, {W: "completed"}, operation=operate("start", "takes", {"message": "m"}, W)
    ),
    Scenario("pause", drives.resumed, {W: "completed"}, drives.in_a_step, operate("pause", W)),
    Scenario("pause suspended", drives.go, {W: "completed"}, drives.a_wait, operate("pause", W)),
    Scenario("resume", drives.go, {W: "completed"}, drives.a_paused_wait, operate("resume", W)),
    Scenario("resume pending", nothing, {W: "completed"}, drives.a_delayed, operate("resume", W)),
    Scenario("cancel", nothing, {W: "cancelled"}, drives.a_compensated, operate("cancel", W)),
    Scenario("cancel now", nothing, {W: "cancelled"}, drives.a_compensated, operate("cancel", W, now=True)),
    Scenario("cancel in work", drives.let_go, {W: "cancelled"}, drives.in_a_step, operate("cancel", W)),
    Scenario("cancel now in work", drives.let_go, {W: "cancelled"}, drives.in_a_step, operate("cancel", W, now=True)),
    Scenario("resume in work", drives.resumed, {W: "completed"}, drives.paused_in_a_step, operate("resume", W)),
    Scenario("cancel pending", nothing, {W: "cancelled"}, drives.far_away, operate("cancel", W)),
    Scenario("retry", nothing, {W: "completed"}, drives.a_failure, operate("retry", W)),
    Scenario("retry big", nothing, {W: "completed"}, drives.a_big_failure, operate("retry", W), left=(4,)),
    Scenario(
        "retry all", nothing, {W: "completed"}, drives.a_failure, operate("retry", W, from_step=0), keeps_steps=False
    ),
    Scenario("retry now", drives.tried, {W: "completed"}, drives.a_back_off, operate("retry_now", W)),
    Scenario("restart step", drives.let_go, {W: "completed"}, drives.in_a_step, operate("restart_step", W)),
    Scenario("restart", nothing, {W: "completed"}, drives.a_completion, operate("restart", W)),
    Scenario("restart as of", nothing, {W: "completed"}, drives.a_completion, drives.restart_as_of),
    Scenario("delete", nothing, {W: "deleted"}, drives.a_completion, operate("delete", W)),
    Scenario("delete big", nothing, {W: "deleted"}, drives.a_big_failure, operate("delete", W)),
    Scenario("resolve", nothing, {W: "completed"}, drives.a_family, operate("resolve", AWAKEABLE, {"message": "m"})),
    Scenario("reject", nothing, {W: "failed"}, drives.a_family, operate("reject", AWAKEABLE, "no")),
    Scenario("signal", nothing, {W: "completed"}, drives.a_wait, operate("signal", W, "go", 1)),
    Scenario("signal in a step", drives.let_go, {W: "completed"}, drives.in_a_step, operate("signal", W, "go", 1)),
    Scenario(
        "schedule create", drives.without_schedule, {}, None, operate("create_schedule", "s", "takes", every=1000)
    ),
    Scenario("schedule pause", drives.without_schedule, {}, drives.a_schedule, operate("pause_schedule", "s")),
    Scenario("schedule resume", drives.without_schedule, {}, drives.a_schedule, operate("resume_schedule", "s")),
    Scenario("schedule delete", nothing, {}, drives.a_schedule, operate("delete_schedule", "s")),
    Scenario("schedule trigger", drives.without_schedule, {}, drives.a_schedule, operate("trigger_schedule", "s")),
    Scenario("repair", nothing, {W: "completed"}, drives.damaged, operate("repair"), has_processor=False),
]
