"""Views as a server might have answered at NOW, one for each state that a renderer has to show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import FailedStep, StepMismatch
from durablectl.query import LostProcessorView, ProcessorView, StepView, WaitingView, WorkflowView

S = 1_000_000
NOW = 1_795_384_800 * S
"""2026-11-22T22:00:00Z."""


def workflow(status: str, **changes: Any) -> WorkflowView:
    view = WorkflowView(
        invocation_id=f"{status}-0001",
        handler="async_workflow",
        status=status,
        current_step=-1,
        current_step_type="",
        total_steps=0,
        input="user-001",
        output=None,
        error="",
        error_type="",
        traceback="",
        reason="",
        partition_key="",
        attempt=1,
        owner="host-4711-c0ffee",
        waiting_for=None,
        workflow_state={},
        created_at=NOW - 125 * S,
        started_at=NOW - 124 * S,
        updated_at=NOW - 2 * S,
        finished_at=0,
        parent_id="",
        revision=17,
        journal=[],
    )
    return replace(view, **changes)


def step(number: int, who: str = "User", **changes: Any) -> StepView:
    view = StepView(
        step_number=number,
        step_type="HelloService.SayHello",
        kind="call",
        request={"name": f"{who}:user-001"},
        response={"message": f"Hello, {who}:user-001!"},
        error="",
        error_type="",
        attempts=1,
        started_at=NOW - 100 * S,
        finished_at=NOW - 100 * S + 3_456,
    )
    return replace(view, **changes)


GREETINGS = ["Hello, User:user-001!", "Hello, Team:user-001!", "Hello, Account:user-001!"]
STEPS = [step(0), step(1, "Team"), step(2, "Account")]
TRACE = 'Traceback (most recent call last):\n  File "shop.py", line 7, in checkout\n    charge()\nValueError: no money'

PENDING = workflow("pending", started_at=0, owner="", attempt=0)
UNHEARD = replace(PENDING, invocation_id="unheard-0001", waiting_for=WaitingView("processor", "async_workflow"))
RUNNING = workflow(
    "running", current_step=2, current_step_type="HelloService.SayHello", total_steps=3, journal=STEPS[:2], attempt=2
)
RETRYING = replace(
    RUNNING,
    invocation_id="retrying-0001",
    waiting_for=WaitingView(
        "retry",
        "HelloService.SayHello",
        2,
        NOW + 11_400_000,
        7,
        "no service answers",
        "",
        ReasonCode.NO_SERVICE,
    ),
)
ORPHANED = replace(RUNNING, invocation_id="orphaned-0001", waiting_for=WaitingView("takeover", "host-4711-c0ffee"))
PARALLEL = workflow(
    "running",
    invocation_id="parallel-0001",
    current_step=0,
    current_step_type="HelloService.SayHello",
    total_steps=4,
    journal=[step(1, "Team")],
)
SLEEPING = workflow(
    "suspended",
    invocation_id="sleeping-0001",
    current_step=1,
    current_step_type="sleep",
    total_steps=2,
    waiting_for=WaitingView("sleep", "sleep", 1, NOW + 273_900 * S),
    journal=[
        step(0),
        step(1, kind="sleep", step_type="sleep", request=None, response=None, finished_at=0, attempts=0),
    ],
)
ASKING = replace(
    SLEEPING,
    invocation_id="asking-0001",
    current_step_type="awakeable:approval",
    waiting_for=WaitingView("awakeable", "awakeable:approval", 1),
    journal=[step(0), replace(SLEEPING.journal[1], kind="awakeable", step_type="awakeable:approval")],  # type: ignore[index]
)
PAUSED = workflow(
    "paused",
    total_steps=1,
    reason="NonDeterminismError: step 1 is recorded as the step 'a', but the code now asks for the step 'b'",
    reason_code=ReasonCode.MISMATCH,
    mismatch=StepMismatch(1, "step", "a", "step", "b"),
    journal=STEPS[:1],
)
COMPLETED = workflow("completed", total_steps=3, output=GREETINGS, finished_at=NOW - 120_544_000, journal=STEPS)
FAILED = workflow(
    "failed",
    handler="checkout",
    input={"cart": ["A-7"], "note": "two\nlines \x1b[31mred"},
    total_steps=2,
    error="no money\x07",
    error_type="ValueError",
    reason_code=ReasonCode.STEP_FAILED,
    failed_step=FailedStep(1, "charge"),
    traceback=TRACE,
    finished_at=NOW - 60 * S,
    workflow_state={"cart": ["A-7"]},
    journal=[
        step(0),
        step(
            1,
            step_type="charge",
            kind="step",
            request={"amount": 3},
            response=None,
            error="no money",
            error_type="ValueError",
            reason_code=ReasonCode.ATTEMPT_FAILED,
            attempts=3,
            finished_at=NOW - 97 * S,
        ),
    ],
)
CANCELLED = workflow(
    "cancelled",
    total_steps=1,
    reason="ordered by mistake",
    reason_code=ReasonCode.CANCELLED_BY_OPERATOR,
    finished_at=NOW - 30 * S,
    journal=STEPS[:1],
)
FOREIGN = workflow(
    "completed",
    invocation_id="foreign-0001",
    started_at=0,
    created_at=0,
    updated_at=0,
    owner="",
    attempt=0,
    total_steps=1,
    output="Hello",
    journal=[step(0, kind="", attempts=0, started_at=0, finished_at=0)],
)

PARENT = workflow(
    "suspended",
    invocation_id="parent-0001",
    handler="shop",
    current_step=4,
    current_step_type="invoke:ship",
    total_steps=5,
    schedule="nightly",
    parent_id="grandparent-0001",
    waiting_for=WaitingView("child", "invoke:ship", 4, awaited_id="ship-0a1b2-c3d4e-f5a6b"),
    children=["pay-0a1b2-c3d4e-f5a6b", "mail-0a1b2-c3d4e-f5a6b", "gone-0a1b2-c3d4e-f5a6b", "ship-0a1b2-c3d4e-f5a6b"],
    journal=[
        step(0, kind="spawn", step_type="spawn:pay", request={"order": 17}, response="pay-0a1b2-c3d4e-f5a6b"),
        step(1, kind="child", step_type="await:pay", request=None, response="paid", awaited_id="pay-0a1b2-c3d4e-f5a6b"),
        step(2, kind="send", step_type="send:mail", request={"to": "me"}, response="mail-0a1b2-c3d4e-f5a6b"),
        step(3, kind="send", step_type="send:mail", request={"to": "you"}, response="gone-0a1b2-c3d4e-f5a6b"),
        step(
            4,
            kind="child",
            step_type="invoke:ship",
            request={"order": 17},
            response=None,
            finished_at=0,
            awaited_id="ship-0a1b2-c3d4e-f5a6b",
        ),
    ],
)
CHILDREN = [
    replace(COMPLETED, invocation_id="pay-0a1b2-c3d4e-f5a6b", handler="pay", journal=None, output="paid"),
    replace(FAILED, invocation_id="mail-0a1b2-c3d4e-f5a6b", handler="mail", journal=None),
    replace(RETRYING, invocation_id="ship-0a1b2-c3d4e-f5a6b", handler="ship", journal=None),
]
"""Of PARENT, but for one that is gone."""

ALL = {
    "pending": PENDING,
    "unheard": UNHEARD,
    "running": RUNNING,
    "retrying": RETRYING,
    "orphaned": ORPHANED,
    "parallel": PARALLEL,
    "sleeping": SLEEPING,
    "asking": ASKING,
    "paused": PAUSED,
    "completed": COMPLETED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "foreign": FOREIGN,
}
USUAL = {"async_workflow": 4, "shop": 5, "ship": 6}
"""How many steps runs usually have, by handler."""

PROCESSORS = [
    ProcessorView("host-4711-c0ffee", ["async_workflow", "checkout"], "0.1.0", "host", 4711, 100, 3, NOW - 7200 * S),
    ProcessorView("host-4712-decade", ["reminder"], "0.2.0", "host", 4712, 20, 0, NOW - 5 * S),
]
BLOCKED_PROCESSORS = [
    PROCESSORS[0],
    replace(
        PROCESSORS[1],
        blocked_since=NOW - 4 * S,
        blocked_by="step 0 'charge' of workflow order-1 (handler 'reminder'), at pay.py:4 in charge",
    ),
]
LOST_PROCESSORS = [
    LostProcessorView(
        "host-4709-beef00",
        ["checkout"],
        "0.1.0",
        "host",
        4709,
        NOW - 7200 * S,
        NOW - 125 * S,
        40,
        ["order-1", "order-2", "order-3", "order-4"],
    ),
    LostProcessorView("host-4710-facade", [], "", "", 0, 0, NOW - 720 * S, 0, [], NOW - 712 * S),
]
TROUBLED_PROCESSORS = [
    replace(BLOCKED_PROCESSORS[0], busy=100),
    replace(BLOCKED_PROCESSORS[1], clock_error=-600 * S),
]
