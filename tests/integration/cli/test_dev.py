"""`durablectl dev`: the stack for daily work, its data, and how it stops."""

from __future__ import annotations

import json
import os
import signal

import pytest

from gated_app import STAGES
from helpers.dev_stack import starter
from helpers.gates import APP, Gates
from helpers.process_list import processes_naming, wait_until_no_process_names
from helpers.waiting import block_until

SAMPLE = ["add_ticket_to_cart", "async_workflow", "flaky_workflow", "greet_many", "hello_workflow", "slow_workflow"]


@pytest.fixture
def start(spawn, cli, tmp_path):
    return starter(spawn, cli, tmp_path)


@pytest.fixture
def dev(start):
    return start()


def test_a_workflow_from_start_to_result(dev):
    done = dev.run("wf", "start", "async_workflow", "--input", '"user-001"', "--wait", "--json")
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert ended["status"] == "completed"
    workflow = dev.get(ended["invocation_id"])
    assert workflow["output"] == [f"Hello, {kind}:user-001!" for kind in ("User", "Team", "Account")]
    assert [entry["step_number"] for entry in workflow["journal"]] == [0, 1, 2]
    first = workflow["journal"][0]
    assert (first["step_type"], first["error"]) == ("HelloService.SayHello", "")
    assert first["request"] == {"name": "User:user-001"}
    assert first["response"] == {"message": "Hello, User:user-001!"}
    assert workflow["started_at"] <= first["started_at"] <= first["finished_at"] <= workflow["finished_at"]
    shown = dev.run("wf", "get", ended["invocation_id"]).stdout
    assert shown.count("HelloService.SayHello") == 3
    assert all(text in shown for text in ("User:user-001", "Hello, User:user-001!", "completed"))


@pytest.fixture
def gates(tmp_path):
    directory = tmp_path / "gates"
    directory.mkdir()
    return Gates(directory)


@pytest.fixture
def start_gated(start, gates):
    """Starts one that runs `gated`."""
    return lambda: start("--app", APP, env=gates.environment)


def test_get_follows_a_workflow_step_by_step(start_gated, gates):
    dev = start_gated()
    invocation_id = dev.json("wf", "start", "gated", "--input", '"report"')["invocation_id"]
    for number, stage in enumerate(STAGES):
        at = (number, stage)
        dev.wait_for_workflow(invocation_id, lambda w, at=at: (w["current_step"], w["current_step_type"]) == at)
        gates.open("report", stage)
    workflow = dev.wait_for_workflow(invocation_id, lambda workflow: workflow["status"] == "completed")
    assert (workflow["current_step"], workflow["current_step_type"]) == (-1, "")


def test_dev_prints_facts_about_itself(dev):
    about = dev.about
    assert (about["app"], about["app_source"]) == (["durablectl.demo"], "sample")
    assert (about["workflows"], about["services"]) == (SAMPLE, ["HelloService", "TicketService"])
    assert (about["data_dir"], about["namespace"], about["slots"]) == (str(dev.directory), None, 100)
    assert [p["processor_id"] for p in dev.json("processors")["processors"]] == [about["processor_id"]]
    assert (dev.directory / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_stops_cleanly(dev, number):
    assert processes_naming(dev.directory)
    assert dev.stop(number) == 0
    assert not processes_naming(dev.directory)
    assert all(json.loads(line)["level"] == "info" for line in dev.process.err().splitlines())


def test_dev_keeps_data_between_runs(start):
    first = start()
    ended = first.json("wf", "start", "hello_workflow", "--input", '"Ada"', "--wait")
    assert first.stop() == 0
    second = start()
    again = second.get(ended["invocation_id"])
    assert (again["status"], again["output"]) == ("completed", "Hello, Ada!")
    assert second.json("wf", "list")["total"] == 1


def test_graceful_stop_releases_running_workflows(start_gated, gates):
    first = start_gated()
    invocation_id = first.json("wf", "start", "gated", "--input", '"report"')["invocation_id"]
    first.wait_for_workflow(invocation_id, lambda workflow: workflow["current_step"] == 0)
    first.process.interrupt()
    block_until(lambda: "Stopping" in first.process.err())
    gates.open("report", "prepare")
    assert first.process.wait(60) == 0
    gates.open("report")
    second = start_gated()
    ended = second.wait_for_workflow(invocation_id, lambda workflow: workflow["status"] == "completed")
    assert [entry["step_type"] for entry in ended["journal"]] == ["prepare", "process", "publish"]


def test_killed_dev_leaves_no_process_and_loses_no_data(start_gated, gates):
    first = start_gated()
    invocation_id = first.json("wf", "start", "gated", "--input", '"report"')["invocation_id"]
    gates.open("report", "prepare")
    before = first.wait_for_workflow(invocation_id, lambda workflow: workflow["current_step"] == 1)
    first.process.kill()
    wait_until_no_process_names(first.directory)
    gates.open("report")
    second = start_gated()
    ended = second.wait_for_workflow(invocation_id, lambda workflow: workflow["status"] == "completed")
    assert ended["output"] == "report is published"
    assert ended["attempt"] > before["attempt"]
    assert ended["journal"][0] == before["journal"][0]


def test_second_signal_ends_dev_at_once(start, tmp_path):
    (tmp_path / "stubborn.py").write_text(
        "import asyncio, time\n"
        "from durablectl import workflow\n"
        "@workflow\n"
        "async def stubborn(ctx):\n"
        "    await ctx.gather(ctx.step(asyncio.sleep, 60), ctx.step(time.sleep, 60))\n"
    )
    dev = start("--app", "stubborn.py")
    invocation_id = dev.json("wf", "start", "stubborn")["invocation_id"]
    dev.wait_for_workflow(invocation_id, lambda workflow: workflow["current_step"] >= 0)
    dev.process.interrupt()
    block_until(lambda: "Stopping" in dev.process.err())
    dev.process.interrupt()
    assert dev.process.wait(60) == 130
    wait_until_no_process_names(dev.directory)
    assert start().get(invocation_id)["status"] in ("running", "pending"), "as after a crash"


def test_dev_ends_when_its_server_dies(dev):
    (server,) = (line for line in processes_naming(dev.directory) if "nats-server" in line and "durablectl" not in line)
    os.kill(int(server.split()[1]), signal.SIGKILL)
    assert dev.process.wait(60) == 1
    error = json.loads(dev.process.err().splitlines()[-1])["error"]
    assert error["message"].startswith("The nats-server ended by itself")
    assert "nats-server.log" in error["hint"]
