"""Workflows that do not move: each is named by status, doctor and why, and ended by the command they give."""

from __future__ import annotations

import json

from helpers.processor_processes import kill
from helpers.waiting import PATIENCE, wait_until


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
    why = await broken.why("call-1")
    assert (why["cause"], why["commands"][0]["command"]) == ("retrying", "durablectl run service APP")
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
    assert (await broken.why("parcel-1"))["cause"] == "waiting"
    await broken.doctor_names("waiting_for_person", is_notice=True)
    await broken.follow(awakeable, JSON="true")
    await broken.follow(signal, JSON="true")
    await broken.ended("ask-1", "parcel-1")
    await broken.group("waiting_for_person", count=1, kind="awakeable", name="approval")


async def test_hung_step_is_named_and_interrupted_by_the_command(broken):
    await broken.running_processor()
    await broken.start("send", "send-1")
    group = await broken.group("hung", "--hung-after", "1s", handler="send", step="ship", severity="error")
    assert group["examples"] == ["send-1"]
    assert group["details"]["limit_seconds"] == 1
    assert "hung" not in await broken.codes()
    await broken.doctor_names("hung", "--hung-after", "1s")
    assert "hangs" in await broken.follow(group)  # wf why, with the same limit
    assert (await broken.why("send-1"))["cause"] == "running"
    broken.switch("unstuck")
    await broken.follow(group, 1)
    await broken.ended("send-1")


async def test_mass_start_by_mistake_is_named_and_undone_by_a_command(broken):
    ids = [f"oops-{number}" for number in range(5)]
    await broken.start("repart", *ids, input=1)
    group = await broken.group("no_processor", count=5, handler="repart", severity="error")
    assert group["recent"] == 5
    assert group["is_growing"]
    await broken.doctor_names("no_processor")
    assert (await broken.why("oops-3"))["cause"] == "no_processor"
    await broken.follow(group, 1)
    report = await broken.status()
    assert not report["needs_person"]
    assert report["moving"]["by_status"] == {"cancelled": 5}


async def test_failures_are_counted_by_error_and_retried_by_the_command(broken):
    await broken.running_processor()
    await broken.start("refuse", "refuse-1", "refuse-2")
    group = await broken.group("failed", count=2, handler="refuse", severity="warning")
    assert group["summary"] == "2 workflows of refuse failed: card declined"
    await broken.doctor_names("failed")
    assert (await broken.why("refuse-1"))["cause"] == "step_failed"
    await broken.follow(group, 1)
    await broken.group("failed", count=2, handler="refuse")
