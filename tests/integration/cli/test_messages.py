"""`wf signal`, `resolve`, `reject` and delayed starts: what reaches a workflow that waits, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import pexpect
import pytest
import pytest_asyncio

from durablectl import control, query
from helpers import operations
from helpers.views import S
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status


@pytest_asyncio.fixture
async def desk(settings):
    async with operations.operator_cli(settings) as opened:
        yield opened


async def test_awakeable_is_resolved_by_the_command_that_get_shows(desk):
    one = await desk.start_and_wait(operations.asking, "suspended")
    told = await desk.ok("wf", "get", one)
    assert "Now\twaiting for the awakeable approval\n" in told
    command = next(line for line in told.splitlines() if line.startswith("Answer\t")).split("\t")[1].split()
    assert command[:-1] == ["durablectl", "wf", "resolve", f"{one}.approval", "--data"]
    assert await desk.ok(*command[1:-1], '{"yes": true}') == "Resolved.\n"
    assert json.loads(await desk.ok("wf", "result", one)) == {"yes": True}
    again = await desk.cli(*command[1:-1], "1")
    assert again.exit_code == 7


async def test_an_awakeable_is_answered_once(desk):
    one = await desk.start_in_status("paused")
    assert await desk.ok("wf", "reject", f"{one}.approval", "--error", "too dear") == "Rejected.\n"
    again = await desk.cli("wf", "resolve", f"{one}.approval")
    assert (again.exit_code, again.stderr) == (7, f"Error: The awakeable {one}.approval was answered before.\n")
    await desk.ok("wf", "resume", one)
    await wait_for_status(desk.store, one, "failed")
    result = await desk.cli("wf", "result", one)
    assert (result.exit_code, "too dear" in result.stderr) == (10, True)


async def test_forced_early_answer_prints_a_note_and_is_kept(desk):
    one = await desk.start_in_status("suspended")
    assert await desk.ok("wf", "resolve", f"{one}.approvel", "--data", "7", "--force") == (
        f"Resolved; the workflow does not wait for {one}.approvel yet.\n"
    )
    await desk.ok("wf", "signal", one, "note", "--data", '"hi"')
    (answer, sent) = json.loads(await desk.ok("wf", "get", one, "--json"))["unclaimed"]
    assert {key: answer[key] for key in ("kind", "name", "awakeable_id", "data", "error")} == {
        "kind": "awakeable",
        "name": "approvel",
        "awakeable_id": f"{one}.approvel",
        "data": 7,
        "error": None,
    }
    assert (sent["kind"], sent["name"], sent["awakeable_id"], sent["data"]) == ("signal", "note", None, "hi")
    lines = [line for line in (await desk.ok("wf", "get", one)).splitlines() if line.startswith("Unclaimed\t")]
    assert [line.split("\t")[1] for line in lines] == [f"awakeable {one}.approvel  7", 'signal note  "hi"']
    await desk.ok("wf", "resolve", f"{one}.approval", "--data", "1")
    await wait_for_status(desk.store, one, "completed")
    assert json.loads(await desk.ok("wf", "get", one, "--json"))["unclaimed"] == []


@pytest.mark.parametrize("command", [("resolve",), ("reject", "--error", "no")])
async def test_misspelt_awakeable_is_refused_off_a_terminal(desk, command):
    one = await desk.start_in_status("suspended")
    verb, *rest = command
    result = await desk.cli("wf", verb, f"{one}.aproval", *rest)
    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr.splitlines()[0] == (
        f"Error: {one} has never asked for the awakeable {one}.aproval. It waits for the awakeable {one}.approval. "
        "Nothing was sent."
    )
    assert "--force" in result.stderr
    view = await query.get_workflow(desk.store, one)
    assert (view.status, view.unclaimed) == ("suspended", [])


async def test_misspelt_signal_is_refused_off_a_terminal(desk):
    one = await start_workflow(desk.store, operations.listening)
    await wait_for_status(desk.store, one, "suspended")
    result = await desk.cli("wf", "signal", one, "itm", "--json")
    assert result.exit_code == 7
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "conflict"
    assert error["message"].startswith(f"{one} has never asked for the signal itm. It waits for the signal item.")
    assert (await query.get_workflow(desk.store, one)).unclaimed == []


async def test_signal_in_place_of_an_answer_is_refused(desk):
    one = await desk.start_in_status("suspended")
    result = await desk.cli("wf", "signal", one, "approval")
    assert (result.exit_code, f"It waits for the awakeable {one}.approval." in result.stderr) == (7, True)


async def test_answers_before_the_workflow_asks_are_accepted(desk):
    one = await desk.in_flight(operations.busy)
    assert await desk.ok("wf", "signal", one, "item") == "Signal 1 sent.\n"
    assert await desk.ok("wf", "resolve", f"{one}.approval") == "Resolved.\n"
    assert [each.name for each in (await query.get_workflow(desk.store, one)).unclaimed] == ["item", "approval"]


async def test_unclaimed_signal_is_found_behind_the_steps_shown(desk):
    one = await start_workflow(desk.store, operations.listening)
    await wait_for_status(desk.store, one, "suspended")
    await control.pause(desk.store, one)
    await desk.ok("wf", "signal", one, "item", "--data", "1")
    shown = json.loads(await desk.ok("wf", "get", one, "--steps", "5:", "--json"))
    assert (shown["journal"], [each["data"] for each in shown["unclaimed"]]) == ([], [1])
    await desk.ok("wf", "resume", one)

    async def received() -> bool:
        return not (await query.get_workflow(desk.store, one, steps=(5, None))).unclaimed

    await wait_until(received)


@pytest.mark.parametrize(("reply", "sent"), [("y", ["aproval"]), ("n", [])])
async def test_misspelt_answer_is_asked_about_on_a_terminal(desk, environment, reply, sent):
    one = await desk.start_in_status("suspended")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "durablectl", "wf", "resolve", f"{one}.aproval"],
        env={**os.environ, **environment, "NO_COLOR": "1"},
        dimensions=(40, 120),
        encoding="utf-8",
        timeout=60,
    )
    try:
        question = r"Send it all the same\? It is kept until the workflow asks for it. \[y/N\] "
        await asyncio.to_thread(child.expect, question)
        assert f"It waits for the awakeable {one}.approval." in child.before.replace("\r\n", " ")
        child.sendline(reply)
        await asyncio.to_thread(child.expect, pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == (0 if sent else 1)
    assert [each.name for each in (await query.get_workflow(desk.store, one)).unclaimed] == sent


@pytest.mark.parametrize("awakeable", ["plain", "a.b.c", "a b.c", ".x"])
async def test_invalid_awakeable_id_is_refused(desk, awakeable):
    assert (await desk.cli("wf", "resolve", awakeable)).exit_code == 2


async def test_signals_come_in_order_from_anywhere(desk, tmp_path):
    one = await start_workflow(desk.store, operations.listening)
    await wait_for_status(desk.store, one, "suspended")
    assert f"Answer\tdurablectl wf signal {one} item --data JSON\n" in await desk.ok("wf", "get", one)
    file = tmp_path / "item.json"
    file.write_text('{"sku": "A-7"}')
    assert await desk.ok("wf", "signal", one, "item", "--data", f"@{file}") == "Signal 1 sent.\n"
    assert await desk.ok("wf", "signal", one, "item", "--data", "-", input="[1]") == "Signal 2 sent.\n"
    assert json.loads(await desk.ok("wf", "result", one)) == [{"sku": "A-7"}, [1]]
    bad = await desk.cli("wf", "signal", one, "item", "--data", "oops")
    assert (bad.exit_code, bad.stderr.startswith("Error: The data is not JSON")) == (2, True)
    assert "--data '\"oops\"'" in bad.stderr
    assert (await desk.cli("wf", "signal", one, "item")).exit_code == 7


async def test_a_start_can_be_delayed(desk):
    before = time.time() * S
    assert await desk.ok("wf", "start", "quick", "--input", '"x"', "--id", "soon", "--delay", "5s") == "soon\n"
    after = time.time() * S
    view = await query.get_workflow(desk.store, "soon")
    assert (view.status, view.waiting_for.kind) == ("pending", "start")
    due = view.waiting_for.until
    assert before + 4.9 * S < due < after + 5.1 * S
    assert await desk.ok("wf", "result", "soon") == '"x"\n'
    view = await query.get_workflow(desk.store, "soon")
    assert view.started_at >= due - S // 100
    await desk.ok("wf", "start", "quick", "--input", "1", "--id", "later", "--at", "2999-12-24T09:00:00+01:00")
    later = json.loads(await desk.ok("wf", "get", "later", "--json"))
    assert later["waiting_for"]["until"] == "2999-12-24T08:00:00.000Z"
    assert "Now\tstarts in " in await desk.ok("wf", "get", "later")
    assert await desk.ok("wf", "cancel", "later") == "Cancelled.\n"


async def test_a_delayed_start_waits_for_its_time_not_for_a_processor(desk):
    await desk.ok("wf", "start", operations.UNSERVED_HANDLER, "--id", "one", "--delay", "3d")
    assert (await query.get_workflow(desk.store, "one")).waiting_for.kind == "start"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--delay", "soon"], "The --delay cannot be used: 'soon' is not a duration such as 30s, 5m, 2h30m or 3d."),
        (["--delay", "0s"], "The --delay cannot be used: it must be longer than zero."),
        (["--delay", "999999w"], "The --delay cannot be used: '999999w' is longer than 100 years."),
        (["--at", "tomorrow"], "The --at cannot be used: 'tomorrow' is not a time."),
        (["--at", "2020-01-01"], "The --at cannot be used: '2020-01-01' lies in the past."),
        (["--delay", "1s", "--at", "2999-01-01"], "--delay and --at were given, but there is one start."),
    ],
)
async def test_a_start_that_cannot_be_delayed_so(desk, args, message):
    result = await desk.cli("wf", "start", "quick", *args)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"Error: {message}")
