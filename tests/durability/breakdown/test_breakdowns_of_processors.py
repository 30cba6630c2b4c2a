"""Processors that are full, dead, stuck or wrong: named by status, doctor and why, ended by the command they give."""

from __future__ import annotations

import asyncio
import json
import sys

from durablectl.model.status import Status
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.breakdowns import seem_to_search
from helpers.paths import APPS
from helpers.processor_processes import alive, kill
from helpers.waiting import wait_until

SHIFTED = str(APPS / "shifted_clock.py")


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
    why = await broken.why("sleeper-1")
    assert "no live processor has its handler" in why["verdict"]
    assert why["commands"][0]["command"] == "durablectl run processor APP"
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
    why = await broken.why("block-1")
    assert why["cause"] == "blocked"
    assert "breakdown_app.py" in why["verdict"]
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
    await broken.doctor_names("version_skew", is_notice=True)
    assert "0.0.1" in await broken.follow(group)  # processors -o wide


async def test_wrong_clock_of_the_reader_is_named(broken, spawn, tmp_path):
    await broken.running_processor()
    offset = tmp_path / "offset"
    offset.write_text("-600")
    process = spawn("status", "--json", command=[sys.executable, SHIFTED, str(offset)])
    assert process.wait(120) == 1
    groups = {group["code"]: group for group in json.loads(process.out())["groups"]}
    assert set(groups) - {"loop_blocked"} == {"clock_off"}  # a busy machine holds up an event loop, too
    assert "The clock of this machine is" in process.err()
    assert "behind that of the NATS server" in process.err()
    diagnosis = spawn("doctor", "--json", command=[sys.executable, SHIFTED, str(offset)])
    assert diagnosis.wait(120) == 1
    (check,) = [each for each in json.loads(diagnosis.out())["checks"] if each["name"] == "clocks"]
    assert check["severity"] == "warning"
    offset.write_text("0")  # as timedatectl does
    assert "clock_off" not in await broken.codes()
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


async def say_it_runs(store, invocation_id, owner):
    """Leave the record as a processor leaves it that lost the command of what it runs."""
    execution, revision = await states.load(store, invocation_id)
    execution.enter_status(Status.RUNNING, execution.created_at)
    execution.owner, execution.waits, execution.waiting_for = owner, [], None
    execution.updated_at = execution.created_at
    assert await states.replace(store, execution, revision)
    await index_entries.update_entry(store, execution)


async def test_wrong_clock_of_a_processor_is_named_until_it_is_set(broken, tmp_path):
    offset = tmp_path / "offset"
    offset.write_text("-600")
    process = await broken.running_processor(command=[sys.executable, SHIFTED, str(offset)])
    await broken.start("deliver", "parcel-1")
    group = await broken.group("clock_off", severity="warning")
    assert round(group["details"]["ahead_seconds"] / 60) == -10
    assert f"-{process.pid}-" in group["details"]["processor"]
    check = await broken.doctor_finds("clocks", "warning")
    assert check["wrong"][0]["processor_id"] == group["details"]["processor"]
    assert (await broken.why("parcel-1"))["cause"] == "waiting"
    assert group["commands"][0]["command"] == "timedatectl set-ntp true"
    offset.write_text("0")
    await broken.until_gone("clock_off")
    await broken.doctor_finds("clocks", "ok")
    await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
    await broken.ended("parcel-1")
