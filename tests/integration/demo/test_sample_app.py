"""The sample app: what each workflow comes to, and that nobody loads it who does not run it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from durablectl import demo, query
from durablectl.demo._proto.tickets_pb2 import ReleaseRequest, ReserveRequest
from durablectl.engine.sdk.app_loader import SAMPLE_APP, load_app
from durablectl.errors import WorkflowFailedError
from helpers.in_process import hosted_services, running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, run_workflow, start_workflow, wait_for_status

WORKFLOWS = (
    demo.hello_workflow,
    demo.greet_many,
    demo.async_workflow,
    demo.slow_workflow,
    demo.flaky_workflow,
    demo.add_ticket_to_cart,
)


@pytest.fixture
async def store(settings):
    async with (
        hosted_services(settings, demo.HelloService, demo.TicketService),
        running_processor(settings, *WORKFLOWS) as running,
    ):
        yield running.store


def test_sample_app_holds_the_documented_handlers():
    app = load_app([SAMPLE_APP])
    assert sorted(app.workflows) == sorted(workflow.name for workflow in WORKFLOWS)
    assert {name: [m.name for m in service.methods] for name, service in app.services.items()} == {
        "HelloService": ["SayHello"],
        "TicketService": ["Reserve", "Release"],
    }


async def test_hello_workflow_makes_one_call(store):
    view = await run_to_end(store, demo.hello_workflow, "Ada")
    assert (view.status, view.output, view.total_steps) == ("completed", "Hello, Ada!", 1)


async def test_greet_many_answers_in_the_order_of_the_names(store):
    names = ["Ada", "Grace", "Edsger"]
    assert await run_workflow(store, demo.greet_many, names) == [f"Hello, {name}!" for name in names]
    assert await run_workflow(store, demo.greet_many, []) == []


async def test_async_workflow_journals_three_readable_calls(store):
    view = await run_to_end(store, demo.async_workflow, "user-001")
    assert view.output == ["Hello, User:user-001!", "Hello, Team:user-001!", "Hello, Account:user-001!"]
    assert [(step.step_number, step.step_type, step.kind) for step in view.journal] == [
        (number, "HelloService.SayHello", "call") for number in range(3)
    ]
    assert [step.request for step in view.journal] == [{"name": f"{k}:user-001"} for k in ("User", "Team", "Account")]
    assert [step.response for step in view.journal] == [{"message": message} for message in view.output]


async def test_slow_workflow_takes_three_steps_of_about_a_second(store):
    view = await run_to_end(store, demo.slow_workflow, "report")
    assert view.output == "report is published"
    assert [step.step_type for step in view.journal] == ["prepare", "process", "publish"]
    assert all(step.finished_at - step.started_at > 0.95e6 for step in view.journal)


@pytest.mark.parametrize("task", ["flaky", "a flaky one"])
async def test_flaky_workflow_fails_after_three_attempts(store, task):
    view = await run_to_end(store, demo.flaky_workflow, task)
    assert (view.status, view.error_type) == ("failed", "StepError")
    assert [(step.step_type, step.attempts, step.error) for step in view.journal] == [
        ("attempt", 3, f"{task!r} was dropped on the way")
    ]


@pytest.mark.parametrize("task", ["solid", "flaky retry", "retry the flaky"])
async def test_flaky_workflow_completes_otherwise(store, task):
    assert await run_workflow(store, demo.flaky_workflow, task) == f"{task}: done"


async def test_a_ticket_is_in_one_cart_only(store):
    """The input may be JSON or the message itself."""
    mine = await run_to_end(store, demo.add_ticket_to_cart, {"ticket_id": "A-7", "user_id": "ada"})
    assert mine.output == mine.workflow_state["cart"] == ["A-7:ada"]
    again = ReserveRequest(ticket_id="A-7", user_id="ada")
    assert await run_workflow(store, demo.add_ticket_to_cart, again) == ["A-7:ada"]
    with pytest.raises(WorkflowFailedError, match="The ticket A-7 is held by somebody else"):
        await run_workflow(store, demo.add_ticket_to_cart, {"ticket_id": "A-7", "user_id": "grace"})


async def test_a_released_ticket_can_be_reserved_by_another():
    tickets = demo.TicketService()
    held = await tickets.Reserve(ReserveRequest(ticket_id="A-7", user_id="ada"))
    assert not (await tickets.Release(ReleaseRequest(reservation_id="A-7:grace"))).released
    assert (await tickets.Release(ReleaseRequest(reservation_id=held.reservation_id))).released
    assert not (await tickets.Release(ReleaseRequest(reservation_id=held.reservation_id))).released
    assert (await tickets.Reserve(ReserveRequest(ticket_id="A-7", user_id="grace"))).reserved


async def test_sample_workflow_survives_its_processor(settings):
    """As its docstring promises: what is journaled is not done again."""
    async with running_processor(settings, demo.slow_workflow, grace=0) as first:
        invocation_id = await start_workflow(first.store, demo.slow_workflow, "report")
        await wait_until(lambda: _is_at(first.store, invocation_id, 1))
        before = (await query.get_workflow(first.store, invocation_id)).journal
    async with running_processor(settings, demo.slow_workflow) as second:
        view = await wait_for_status(second.store, invocation_id, "completed")
    assert (view.status, view.output) == ("completed", "report is published")
    assert view.attempt > 1
    assert view.journal[0] == before[0]


async def _is_at(store, invocation_id, step):
    return (await query.get_workflow(store, invocation_id)).current_step >= step


@pytest.mark.parametrize(
    "arguments", [("--help",), ("wf", "list"), ("wf", "start", "hello_workflow"), ("dev", "--help")]
)
def test_other_commands_do_not_load_the_sample_app(arguments, settings, tmp_path):
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "durablectl", *arguments],
        env={"NATS_URL": settings.url, "DURABLECTL_NAMESPACE": settings.namespace, "PYTHONPATH": ":".join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stderr
    assert re.search(r"\bdurablectl\.cli\.main\b", loaded)
    assert not re.search(r"\| +durablectl\.demo\b", loaded)
