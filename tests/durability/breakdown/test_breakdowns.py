"""Each breakdown is set up with real processes, named by status, doctor and why, and ended by the command they give."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest

from durablectl.model.status import Status
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases, states
from helpers.breakdowns import Breakdown
from helpers.paths import APPS
from helpers.processor_processes import alive, kill
from helpers.waiting import PATIENCE, wait_until

SHIFTED = str(APPS / "shifted_clock.py")


@pytest.fixture
def broken(cli, spawn, tmp_path):
    return Breakdown(cli, spawn, tmp_path / "breakdown")


async def test_dead_service_is_named_and_its_return_ends_the_retries(broken):
    await broken.running_processor()
    await broken.start("pay", *(f"pay-{number}" for number in range(3)), input=7)
    group = await broken.group("retrying", count=3, handler="pay", step="charge", severity="warning", attempts=3)
    await wait_until(lambda: all_back_off(broken, "pay-0", "pay-1", "pay-2"))
    assert "the payment service refused the connection" in group["summary"]
    later = await broken.group("retrying", count=3)
    assert (later["since"], later["recent"]) == (group["since"], 3)
    await broken.doctor_names("retrying")
    assert (await broken.why("pay-0"))["cause"] == "retrying"
    assert "pay-" in await broken.follow(group)  # wf why
    broken.switch("repaired")
    await broken.follow(group, 1)
    await broken.ended("pay-0", "pay-1", "pay-2")
    await broken.until_gone("retrying")


async def all_back_off(broken, *ids):
    """Until somebody asks for the next attempt."""
    views = [json.loads(await broken.run("wf", "get", each, "--json")) for each in ids]
    return all((view["waiting_for"] or {}).get("attempt") == 3 for view in views)


async def test_missing_service_is_named_and_started_by_the_command(broken, spawn):
    await broken.running_processor()
    await broken.start("call", "call-1", input="you")
    group = await broken.group("retrying", count=1, handler="call", reason_code="no_service")
    assert group["commands"][0]["command"] == "durablectl run service APP"
    await broken.doctor_names("retrying")
    spawn("run", "service", "durablectl.demo")
    await broken.ended("call-1")
    await broken.until_gone("retrying")


async def test_poison_is_paused_by_the_engine_and_resumes_once_cured(broken):
    await broken.start("poison", "poison-1")

    process = broken.processor()

    async def is_paused():
        nonlocal process
        if process.poll() is not None:
            process = broken.processor()
        return json.loads(await broken.run("wf", "get", "poison-1", "--json"))["status"] == "paused"

    await wait_until(is_paused, 4 * PATIENCE)
    group = await broken.group("paused_by_engine", count=1, handler="poison", severity="error")
    assert group["details"]["reason_code"] == "crashed_processor"
    await broken.doctor_names("paused_by_engine")
    assert (await broken.why("poison-1"))["cause"] == "crashing"
    broken.switch("cured")
    await broken.follow(group, 1)
    await broken.ended("poison-1")
    assert "paused_by_engine" not in await broken.codes()


async def test_changed_code_pauses_and_resumes_with_code_that_fits(broken):
    first = await broken.running_processor()
    await broken.start("change", "change-1", "change-2")
    await broken.group("waiting_for_person", count=2, handler="change")
    kill(first)
    broken.switch("changed")
    await broken.running_processor()
    for each in ("change-1", "change-2"):
        await broken.run("wf", "signal", each, "continue", "--data", "1")
    group = await broken.group("paused_by_engine", count=2, handler="change", severity="error")
    assert group["details"]["reason_code"] == "mismatch"
    await broken.doctor_names("paused_by_engine")
    assert (await broken.why("change-1"))["cause"] == "mismatch"
    (broken.directory / "changed").unlink()
    await broken.follow(group, 1)
    await broken.ended("change-1", "change-2")


async def test_waits_for_a_person_are_named_and_answered_by_the_command(broken):
    await broken.running_processor()
    await broken.start("approve", "ask-1", "ask-2")
    await broken.start("deliver", "parcel-1")
    awakeable = await broken.group("waiting_for_person", count=2, kind="awakeable", name="approval")
    signal = await broken.group("waiting_for_person", count=1, kind="signal", name="delivered")
    assert not awakeable["report"]["needs_person"]
    assert (await broken.why("ask-1"))["cause"] == "waiting"
    await broken.follow(awakeable, JSON="true")
    await broken.follow(signal, JSON="true")
    await broken.ended("ask-1", "parcel-1")
    await broken.group("waiting_for_person", count=1, kind="awakeable", name="approval")


async def test_backlog_behind_a_full_processor_tells_what_holds_the_slots(broken):
    await broken.running_processor("--max-concurrent", "2")
    await broken.start("send", *(f"send-{number}" for number in range(5)))
    group = await broken.group("no_room", count=3, handler="send", slots=2, eta_seconds=None)
    assert [(held["step"], held["count"]) for held in group["details"]["held_by"]] == [("ship", 2)]
    assert (await broken.why("send-4"))["cause"] == "busy"
    await broken.group("no_room", count=3, severity="warning")
    await broken.doctor_names("no_room")
    assert group["commands"][0]["command"] == "durablectl run processor APP"
    await broken.running_processor()
    await broken.until_gone("no_room")
    broken.switch("shipped")
    await broken.ended(*(f"send-{number}" for number in range(5)))


async def test_hung_step_is_named_and_interrupted_by_the_command(broken):
    await broken.running_processor()
    await broken.start("send", "send-1")
    group = await broken.group("hung", "--hung-after", "1s", handler="send", step="ship", severity="error")
    assert group["examples"] == ["send-1"]
    assert group["details"]["limit_seconds"] == 1
    assert "hung" not in await broken.codes()
    broken.switch("unstuck")
    await broken.follow(group, 1)
    await broken.ended("send-1")


async def test_dead_processor_is_named_and_another_takes_over(broken):
    process = await broken.running_processor()
    await broken.start("send", "send-1")
    await broken.group("hung", "--hung-after", "100ms", handler="send")
    kill(process)
    group = await broken.group("no_processor", count=1, handler="send", severity="error")
    assert group["details"]["by_status"] == {"running": 1}
    await broken.doctor_names("no_processor")
    lost = await broken.group("processor_lost", severity="warning")
    assert str(process.pid) in lost["summary"]
    checks = json.loads(await broken.run("doctor", "--json", codes=(1,)))["checks"]
    (check,) = [each for each in checks if each["name"] == "lost_processors"]
    assert (check["severity"], check["count"]) == ("warning", 1)
    assert (await broken.why("send-1"))["cause"] == "orphaned"
    assert group["commands"][0]["command"] == "durablectl run processor APP"
    broken.switch("shipped")
    await broken.running_processor()
    await broken.ended("send-1")
    assert "no_processor" not in await broken.codes()


async def test_removed_handler_leaves_sleepers_that_are_named(broken):
    process = await broken.running_processor()
    await broken.start("remind", *(f"sleeper-{number}" for number in range(3)), input=89 * 86_400)
    await wait_until(lambda: suspended(broken, 3))
    process.interrupt()
    process.wait()
    await broken.running_processor(app="durablectl.demo")
    group = await broken.group("no_processor", count=3, handler="remind", severity="warning")
    assert group["details"]["by_status"] == {"suspended": 3}
    assert group["details"]["first_due_at"] is not None
    await broken.doctor_names("no_processor")
    await broken.follow(group, 1)  # wf cancel, which ends what needs no handler to end
    await broken.running_processor()
    await broken.until_gone("no_processor")


async def suspended(broken, number):
    return (await broken.status())["moving"]["by_status"].get("suspended") == number


async def test_blocked_loop_is_named_with_the_code_that_blocks_it(broken):
    await broken.running_processor()
    await broken.start("block", "block-1")
    group = await broken.group("loop_blocked", severity="error")
    assert "breakdown_app.py" in group["summary"]
    await broken.doctor_names("loop_blocked")
    broken.switch("yielded")
    await broken.ended("block-1")
    await broken.until_gone("loop_blocked")


async def test_two_versions_of_a_handler_are_noted(broken):
    await broken.running_processor()
    code = "import durablectl.cli as c; c.version = lambda: '0.0.1'; from durablectl.cli.main import main; main()"
    await broken.running_processor(command=[sys.executable, "-c", code])
    group = await broken.group("version_skew", severity="notice")
    assert "0.0.1" in group["details"]["versions"]
    assert not group["report"]["needs_person"]


async def test_schedule_without_message_or_handler_is_dead(broken, store):
    await broken.running_processor()
    await broken.run("schedule", "create", "nightly", "remind", "--every", "1h", "--input", "1")
    assert "schedule_dead" not in await broken.codes()
    searching = asyncio.create_task(seem_to_search(store))
    purged = {"filter": store.subjects.recurrence("nightly")}  # of a stream that is purged whole, processors notice it
    await store.requests.call(f"{store.api}.STREAM.PURGE.{store.subjects.commands_stream}", purged)
    group = await broken.group("schedule_dead", schedule="nightly", severity="error")
    await broken.doctor_names("schedule_dead")
    await broken.run("schedule", "delete", "nightly")
    assert group["examples"] == ["nightly"]
    await broken.run("schedule", "create", "weekly", "report", "--every", "1h")
    group = await broken.group("schedule_dead", schedule="weekly", handler="report")
    await broken.follow(group, 1)
    await broken.until_gone("schedule_dead")
    searching.cancel()


async def test_mass_start_by_mistake_is_named_and_undone_by_a_command(broken):
    ids = [f"oops-{number}" for number in range(5)]
    await broken.start("repart", *ids, input=1)
    group = await broken.group("no_processor", count=5, handler="repart", severity="error")
    assert group["recent"] == 5
    assert group["is_growing"]
    await broken.follow(group, 1)
    assert await broken.codes() == set()
    assert (await broken.status())["moving"]["by_status"] == {"cancelled": 5}


async def test_failures_are_counted_by_error_and_retried_by_the_command(broken):
    await broken.running_processor()
    await broken.start("refuse", "refuse-1", "refuse-2")
    group = await broken.group("failed", count=2, handler="refuse", severity="warning")
    assert group["summary"] == "2 workflows of refuse failed: card declined"
    await broken.doctor_names("failed")
    assert (await broken.why("refuse-1"))["cause"] == "step_failed"
    await broken.follow(group, 1)
    await broken.group("failed", count=2, handler="refuse")


async def test_wrong_clock_of_the_reader_is_named(broken, spawn, tmp_path):
    await broken.running_processor()
    offset = tmp_path / "offset"
    offset.write_text("-600")
    process = spawn("status", "--json", command=[sys.executable, SHIFTED, str(offset)])
    assert process.wait(120) == 1
    groups = {group["code"]: group for group in json.loads(process.out())["groups"]}
    assert set(groups) - {"loop_blocked"} == {"clock_off"}  # a busy machine holds up an event loop, too
    group = groups["clock_off"]
    assert (group["code"], round(group["details"]["ahead_seconds"] / 60)) == ("clock_off", -10)


async def test_work_that_no_processor_is_at_is_named_and_called_again(broken, store):
    process = await broken.running_processor()
    await broken.start("deliver", "parcel-1")
    await broken.group("waiting_for_person", handler="deliver")
    searching = asyncio.create_task(seem_to_search(store))
    await say_it_runs(store, "parcel-1", await alive(store, process))
    group = await broken.group("unattended", count=1, severity="error")
    await broken.doctor_names("unattended")
    assert (await broken.why("parcel-1"))["cause"] == "unattended"
    await broken.follow(group)  # doctor --repair
    await broken.group("waiting_for_person", handler="deliver")
    assert "unattended" not in await broken.codes()
    searching.cancel()


async def seem_to_search(store):
    """Be the longest-running processor, which alone searches for such work: the other one leaves it to the command."""
    while True:
        await leases.renew(store, leases.Lease("searching", machine_time=time.time_ns() // 1000))
        await asyncio.sleep(leases.RENEW_SECONDS)


async def say_it_runs(store, invocation_id, owner):
    """Leave the record as a processor leaves it that lost the command of what it runs."""
    execution, revision = await states.load(store, invocation_id)
    execution.enter_status(Status.RUNNING, execution.created_at)
    execution.owner, execution.waits, execution.waiting_for = owner, [], None
    execution.updated_at = execution.created_at
    assert await states.replace(store, execution, revision)
    await index_entries.update_entry(store, execution)
