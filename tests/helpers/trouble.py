"""Reports of `durablectl status` as they might have been made at NOW: one with every kind of trouble, one with none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from durablectl.model.clock import NANOSECONDS
from durablectl.model.held_workflows import digest_ids
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.schedules import Schedule
from durablectl.query import LiveContext, Moving, ProcessorView, StatusReport, WaitingView
from durablectl.query.plumbing_trouble import LostRecords, Plumbing, groups_of_plumbing
from durablectl.query.trouble import worst_first
from durablectl.query.views import LostProcessorView
from durablectl.query.why import explain_view
from durablectl.query.work_trouble import Backlog, Observed, Work, groups_of_work
from durablectl.storage.diagnosis.inspection import StreamCondition
from durablectl.storage.diagnosis.room import FullStore
from durablectl.storage.streams.stream_risks import StreamKind, find_risks
from helpers import views
from helpers.views import NOW, S

if TYPE_CHECKING:
    from durablectl.query import WorkflowView

FULL = replace(
    ProcessorView("host-4711-c0ffee", ["checkout", "onboarding"], "1.4.0", "host", 4711, 4, 4, NOW - 7200 * S),
    held=digest_ids(["stuck-1"]),
)
BLOCKED = replace(
    FULL,
    processor_id="host-4712-decade",
    version="1.5.0",
    started_at=NOW - 600 * S,
    blocked_since=NOW - 90 * S,
    blocked_by="step 0 'charge' of workflow order-1 (handler 'checkout'), at pay.py:4 in charge",
)
LIVE = (FULL, BLOCKED)
USUAL = {"ship": 400_000}


def observed(view: WorkflowView, weight: float = 1.0, **context: Any) -> Observed:
    return Observed(explain_view(view, LiveContext(**{"processors": LIVE, **context}), NOW), weight)


def active(status: str, name: str, **changes: Any) -> WorkflowView:
    return views.workflow(status, **{"invocation_id": name, "handler": "checkout", **changes})


def retrying(name: str, error: str, attempt: int, **changes: Any) -> WorkflowView:
    waits = WaitingView("retry", "charge", 1, NOW + 4 * S, attempt, error, "", ReasonCode.ATTEMPT_FAILED)
    return active("running", name, current_step=1, current_step_type="charge", waiting_for=waits, **changes)


def waiting(name: str, kind: str, what: str, days: int) -> WorkflowView:
    waits = WaitingView(kind, f"{kind}:{what}", 2, awaited_id=f"{name}.{what}" if kind == "awakeable" else "")
    return active("suspended", name, waiting_for=waits, updated_at=NOW - days * 86_400 * S)


OBSERVED = [
    *(observed(retrying(f"order-{number}", f"order {number}: the bank is away", number + 2)) for number in range(6)),
    *(observed(active("paused", f"old-{n}", reason_code=ReasonCode.MISMATCH, reason="x")) for n in range(3)),
    observed(active("paused", "poison-1", reason_code=ReasonCode.CRASHED_PROCESSOR, reason="crashed 5 times")),
    observed(active("paused", "held-1", reason_code=ReasonCode.PAUSED_BY_OPERATOR, reason="the bank asked us to")),
    observed(waiting("ask-1", "awakeable", "approval", 9)),
    observed(waiting("ask-2", "awakeable", "approval", 0)),
    observed(waiting("ask-3", "signal", "delivered", 0)),
    observed(
        active(
            "suspended", "late-1", handler="report", waiting_for=WaitingView("sleep", "sleep", 0, NOW + 89 * 86_400 * S)
        )
    ),
    *(observed(active("pending", f"new-{n}", updated_at=NOW - 120 * S), 1648) for n in range(3)),
    observed(
        active("running", "stuck-1", current_step_type="ship", current_step=1, updated_at=NOW - 720 * S), usual=USUAL
    ),
    observed(active("running", "lost-1", updated_at=NOW - 300 * S)),
    observed(active("running", "left-1", updated_at=NOW - 60 * S, waiting_for=WaitingView("takeover", "host-1-dead"))),
]
FAILED = [observed(replace(views.FAILED, invocation_id=f"failed-{number}")) for number in range(2)]
WORK = Work(OBSERVED, FAILED, {"report": Counter({"suspended": 20})}, {"checkout": Backlog(4944, 1200, 312.5)})
DAY_LIMIT = find_risks(StreamKind.COMMANDS, {}, {"max_age": 86_400 * NANOSECONDS})
PLUMBING = Plumbing(
    LIVE,
    [LostProcessorView("host-1-dead", ["report"], "1.4.0", "host", 1, NOW - 9000 * S, NOW - 63 * S, 4, ["left-1"])],
    [
        StreamCondition("KV_EXECUTION_STATE", StreamKind.STATES, exists=True),
        StreamCondition("COMMANDS", StreamKind.COMMANDS, exists=True, risks=DAY_LIMIT),
        StreamCondition("EXECUTION_INDEX", StreamKind.INDEX, exists=False),
    ],
    [
        Schedule("nightly", "checkout", cron="0 3 * * *", created_at=NOW - 90_000 * S, last_fired_at=NOW - 68_400 * S),
        Schedule("hourly", "checkout", every=3600, created_at=NOW - 90_000 * S, last_fired_at=NOW - 10_000 * S),
        Schedule("weekly", "report", every=604_800, created_at=NOW - 90_000 * S),
    ],
    {"hourly", "weekly"},
    clock_ahead=-600 * S,
    set_aside=2,
    full=FullStore(
        "after an error of its disk, nats-server writes nothing more to KV_DURABLE_PROCESSORS",
        2,
        NOW - 40 * S,
        needs_restart=True,
    ),
    lost_records=LostRecords("KV_EXECUTION_STATE", 3, ["lost-1", "lost-2", "lost-3"]),
)
TROUBLED = StatusReport(
    NOW,
    worst_first([*groups_of_work(WORK, NOW), *groups_of_plumbing(PLUMBING, NOW)]),
    Moving(
        {"completed": 120_000, "pending": 4944, "suspended": 23, "running": 8, "paused": 5},
        312.5,
        280,
        4944,
        views.SLEEPING,
    ),
    LIVE,
    3,
)
FINE = StatusReport(
    NOW, [], Moving({"completed": 120_000, "running": 3, "suspended": 40}, 0.4, 12, 0, views.SLEEPING), LIVE[:1], 3
)
