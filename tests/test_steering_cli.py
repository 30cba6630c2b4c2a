"""`wf pause`, `resume`, `cancel`, `retry`, `delete`, `signal`, `resolve`, `reject`: what they print, ask and refuse."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import pytest_asyncio

import steering
from durablectl import control, query
from support import reaches, start, until
from views import S


@pytest_asyncio.fixture
async def desk(settings):
    async with steering.desk(settings) as opened:
        yield opened


async def statuses(desk) -> dict[str, int]:
    return dict((await query.get_stats(desk.store)).by_status)


async def pending(desk, count: int) -> list[str]:
    return [await start(desk.store, steering.NOBODYS, id=f"p{number:02d}") for number in range(count)]


async def test_one_id_is_answered_with_a_sentence(desk):
    one = await desk.begun("suspended")
    assert await desk.ok("wf", "pause", one, "--reason", "lunch") == "Paused.\n"
    assert await desk.ok("wf", "pause", one) == "It was paused already.\n"
    assert await desk.ok("wf", "pause", one, "-o", "name") == f"{one}\n"
    assert await desk.ok("wf", "resume", one) == "Resumed.\n"
    await reaches(desk.store, one, "suspended")
    assert await desk.ok("wf", "cancel", one, "--reason", "no more") == "Cancelled.\n"
    refused = await desk.cli("wf", "resume", one)
    assert (refused.exit_code, refused.stdout) == (7, "")
    assert refused.stderr == (
        f"Error: The workflow {one} is cancelled and cannot be resumed.\n"
        "A failed or cancelled workflow goes on with `wf retry`.\n"
    )
    missing = await desk.cli("wf", "pause", "nope", "--json")
    assert (missing.exit_code, json.loads(missing.stderr)["error"]["code"]) == (3, "not_found")


async def test_a_step_in_flight_is_named_and_shown(desk):
    one = await desk.in_flight(steering.busy)
    assert await desk.ok("wf", "pause", one, "--reason", "a look") == (
        "Paused; step 0 hold is in flight and ends first.\n"
    )
    told = await desk.ok("wf", "get", one)
    assert "Now\tpaused: a look (step 0 hold is in flight and ends first)\n" in told
    assert f"{one}\tbusy\tpaused\t0\thold" in await desk.ok("wf", "list")
    steering.release(one)
    await until(lambda: is_idle(desk, one))
    assert "Now\tpaused: a look\n" in await desk.ok("wf", "get", one)


async def is_idle(desk, invocation_id: str) -> bool:
    return not (await query.get_workflow(desk.store, invocation_id)).owner


async def test_several_ids_are_accounted_for_one_by_one(desk):
    good, bad = await desk.begun("suspended"), await desk.begun("completed")
    result = await desk.cli("wf", "pause", good, bad, "no such", good)
    assert result.exit_code == 6
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[good, "ok"], [bad, "failed"], ["no such", "failed"]]
    assert lines[0][2] == "Paused."
    assert "completed" in lines[1][2]
    assert "' '" in lines[2][2]
    assert result.stderr == "3 workflows: 1 changed, 2 failed.\n"


async def test_several_ids_as_json_have_the_same_keys(desk):
    good, bad = await desk.begun("paused"), await desk.begun("completed")
    result = await desk.cli("wf", "resume", good, bad, "--json")
    assert result.exit_code == 6
    done, failed = map(json.loads, result.stdout.splitlines())
    assert list(done) == list(failed)
    assert done == {
        "invocation_id": good,
        "status": "pending",
        "changed": True,
        "message": "Resumed.",
        "restarted_from": None,
        "ok": True,
        "error": None,
    }
    assert (failed["invocation_id"], failed["ok"], failed["error"]["code"]) == (bad, False, "invalid_state")
    alone = json.loads(await desk.ok("wf", "pause", good, "--json"))
    assert list(alone) == list(done)[:-2]


async def test_ids_come_from_a_pipe(desk):
    for _ in range(3):
        await desk.begun("failed")
    ids = await desk.ok("wf", "list", "--status", "failed", "-o", "name")
    steering.healed.update(ids.split())
    result = await desk.cli("wf", "retry", "-", "-o", "name", input=f"{ids}\n\n{ids}")
    assert (result.exit_code, result.stdout.splitlines()) == (0, ids.split())
    await until(lambda: has_only(desk, "completed"))
    nothing = await desk.cli("wf", "retry", "-", input="")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "Nothing to retry: no ids came.\n")


async def has_only(desk, status: str) -> bool:
    return set(await statuses(desk)) == {status}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Nothing says which workflows."),
        (["one", "--status", "failed"], "Ids and filters were given"),
        (["--status", "ended"], "There is no status 'ended'."),
    ],
)
async def test_what_does_not_choose_is_refused(desk, args, message):
    result = await desk.cli("wf", "cancel", *args)
    assert (result.exit_code, message in result.stderr) == (2, True)


async def test_filters_ask_first(desk):
    await pending(desk, 12)
    await desk.begun("completed")
    refused = await desk.cli("wf", "cancel", "--handler", steering.NOBODYS)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        "Error: This would cancel 12 workflows; nothing was changed.\nAdd --yes to do it, or --dry-run to see which.\n"
    )
    assert await statuses(desk) == {"pending": 12, "completed": 1}
    done = await desk.cli("wf", "cancel", "--handler", steering.NOBODYS, "--yes")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 12)
    assert done.stderr == "12 workflows: 12 changed.\n"
    assert await statuses(desk) == {"cancelled": 12, "completed": 1}


async def test_filters_choose_what_the_operation_can_change(desk):
    """Without --status; with it, what cannot be changed fails."""
    await pending(desk, 2)
    done, paused = await desk.begun("completed"), await desk.begun("paused")
    result = await desk.cli("wf", "pause", "--handler", steering.NOBODYS, "--handler", "quick", "--yes", "-o", "name")
    assert result.stdout.split() == ["p00", "p01"]
    result = await desk.cli("wf", "pause", "--status", "completed", "--yes")
    assert (result.exit_code, result.stdout.split("\t")[:2]) == (6, [done, "failed"])
    result = await desk.cli("wf", "resume", "--handler", "asking", "--yes", "-o", "name")
    assert result.stdout.split() == [paused]
    result = await desk.cli("wf", "delete", "--handler", "quick", "--handler", steering.NOBODYS, "--yes", "-o", "name")
    assert result.stdout.split() == [done]
    nothing = await desk.cli("wf", "retry", "--handler", "quick")
    assert (nothing.exit_code, nothing.stderr) == (0, "Nothing to retry: no workflow matches.\n")


async def test_a_dry_run_shows_and_changes_nothing(desk):
    ids = await pending(desk, 12)
    told = await desk.cli("wf", "cancel", "--status", "pending", "--dry-run", "--yes")
    assert told.exit_code == 0
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert rows[0] == ["ID", "HANDLER", "STATUS", "CREATED"]
    assert [row[:3] for row in rows[1:]] == [[each, steering.NOBODYS, "pending"] for each in ids]
    assert told.stderr == "Would cancel 12 workflows. Nothing was changed.\n"
    assert (await desk.ok("wf", "cancel", "--status", "pending", "--dry-run", "-o", "name")).split() == ids
    lines = (await desk.ok("wf", "cancel", "--status", "pending", "--dry-run", "--json")).splitlines()
    assert [json.loads(line)["invocation_id"] for line in lines] == ids
    told = await desk.cli("wf", "cancel", ids[0], "nope", "--dry-run")
    assert told.stdout.splitlines()[1].split("\t")[0] == ids[0]
    assert "There is no workflow nope.\nWould cancel 1 workflow." in told.stderr
    assert await statuses(desk) == {"pending": 12}


async def test_a_rate_is_kept(desk):
    await pending(desk, 6)
    before = time.monotonic()
    result = await desk.cli("wf", "cancel", "--status", "pending", "--yes", "--rate", "10")
    assert result.exit_code == 0
    assert time.monotonic() - before >= 0.5


async def test_cancel_waits_for_the_compensations(desk):
    one = await desk.in_flight(steering.booking)
    late = await desk.cli("wf", "cancel", one, "--reason", "wrong date", "--wait", "--timeout", "200ms")
    assert (late.exit_code, "had not ended after 0.2 s" in late.stderr) == (5, True)
    shown = await desk.ok("wf", "get", one)
    assert "Now\tcancelling: wrong date, running step 1 hold\n" in shown
    assert await desk.ok("wf", "cancel", one) == "It is being cancelled already.\n"
    refused = await desk.cli("wf", "pause", one)
    assert (refused.exit_code, "being cancelled" in refused.stderr) == (7, True)
    waiting = asyncio.create_task(desk.ok("wf", "cancel", one, "--wait"))
    assert not (await asyncio.wait([waiting], timeout=0.5))[0]
    steering.release(f"undo-{one}")
    assert await waiting == "Cancelled.\n"
    view = await query.get_workflow(desk.store, one)
    assert (view.status, view.reason) == ("cancelled", "wrong date")
    assert [(step.step_type, step.kind, bool(step.error)) for step in view.journal] == [
        ("hold", "step", True),
        ("hold", "compensation", False),
        ("undo", "compensation", False),
    ]
    assert f"undone {one}" in steering.effects
    result = await desk.cli("wf", "cancel", one, "--timeout", "3s")
    assert (result.exit_code, "--timeout is about --wait" in result.stderr) == (2, True)


async def test_now_skips_the_compensations(desk):
    one = await desk.in_flight(steering.booking)
    assert await desk.ok("wf", "cancel", one, "--now", "--wait") == "Cancelled.\n"
    assert (await query.get_workflow(desk.store, one)).status == "cancelled"
    await until(lambda: is_not_running(desk))
    assert f"undone {one}" not in steering.effects


async def is_not_running(desk) -> bool:
    return all(processor.busy == 0 for processor in await query.live_processors(desk.store))


async def test_retry_goes_on_and_keeps_what_it_drops(desk):
    one = await desk.begun("failed")
    assert await desk.ok("wf", "retry", one) == "Retrying from step 1.\n"
    await until(lambda: has_tried(desk, one, 2))
    steering.healed.add(one)
    assert await desk.ok("wf", "retry", one, "--from-step", "0") == "Retrying from step 0.\n"
    await reaches(desk.store, one, "completed")
    assert steering.effects.count(f"noted {one}") == 2
    plain = await desk.ok("wf", "get", one)
    assert "Retried\t2 times\n" in plain
    assert "Dropped" not in plain
    dropped = (await desk.ok("wf", "get", one, "--history")).split("Dropped\t")[1:]
    assert [part.count("no money") for part in dropped] == [2, 2]
    assert [len(part.strip().splitlines()) - 2 for part in dropped] == [1, 2]
    history = json.loads(await desk.ok("wf", "get", one, "--json"))["history"]
    assert [[step["step_number"] for step in each["steps"]] for each in history] == [[1], [0, 1]]
    assert "no money" in history[0]["reason"]


async def has_tried(desk, invocation_id: str, attempts: int) -> bool:
    view = await query.get_workflow(desk.store, invocation_id)
    return (view.status, view.attempt) == ("failed", attempts)


async def test_retry_refuses_a_step_that_was_never_reached(desk):
    one = await desk.begun("failed")
    result = await desk.cli("wf", "retry", one, "--from-step", "9")
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: The workflow {one} has no step 9.\nIts steps are 0 to 1.\n",
    )
    result = await desk.cli("wf", "retry", one, "--from-step", "0", "--restart")
    assert (result.exit_code, "A restart begins at the first step." in result.stderr) == (2, True)
    assert (await query.get_workflow(desk.store, one)).status == "failed"


async def test_a_restart_is_linked_both_ways(desk):
    old = await desk.begun("completed")
    told = json.loads(await desk.ok("wf", "retry", old, "--restart", "--json"))
    assert (told["restarted_from"], told["status"]) == (old, "pending")
    new = told["invocation_id"]
    await reaches(desk.store, new, "completed")
    assert f"Restarted\tas {new}\n" in await desk.ok("wf", "get", old)
    assert f"Restart of\t{old}\n" in await desk.ok("wf", "get", new)
    line = json.loads((await desk.ok("wf", "retry", old, new, "--restart", "--json")).splitlines()[0])
    assert (line["restarted_from"], line["ok"]) == (old, True)


async def test_what_is_deleted_is_gone_and_its_id_free(desk):
    one = await desk.begun("completed")
    assert await desk.ok("wf", "delete", one) == "Deleted.\n"
    assert (await desk.cli("wf", "get", one)).exit_code == 3
    assert await desk.ok("wf", "start", "quick", "--input", '"again"', "--id", one, "--wait") == '"again"\n'


LATE = ["noted deleted", "noted deleted too", "noted anew"]


@steering.workflow(name="late")
async def late(ctx, what):
    return await ctx.step(steering.note, what)


async def test_what_was_deleted_before_it_ran_never_runs(desk, settings):
    """Its start command may lie there until a processor comes."""
    await start(desk.store, "late", "deleted", id="one")
    await desk.ok("wf", "cancel", "one")
    await desk.ok("wf", "delete", "one")
    await start(desk.store, "late", "deleted too", id="two")
    await desk.ok("wf", "cancel", "two")
    await desk.ok("wf", "delete", "two")
    assert await desk.ok("wf", "start", "late", "--input", '"anew"', "--id", "two") == "two\n"
    async with steering.processing(settings, late):
        assert await desk.ok("wf", "result", "two", "--timeout", "10s") == '"anew"\n'
        await until(lambda: is_not_running(desk))
    assert [effect for effect in steering.effects if effect in LATE] == LATE[-1:]
    assert (await desk.cli("wf", "get", "one")).exit_code == 3


async def test_children_that_were_cancelled_with_their_parent_are_started_anew(desk):
    parent = await desk.reached(steering.delegating, "suspended")
    (first,) = (await query.get_workflow(desk.store, parent)).children
    shown = await desk.ok("wf", "get", parent)
    assert f"Children\t{first}\n" in shown
    assert f"Answer\tdurablectl wf get {first}\n" in shown
    assert f"Parent\t{parent}\n" in await desk.ok("wf", "get", first)
    await desk.ok("wf", "cancel", parent)
    await reaches(desk.store, first, "cancelled")
    assert await desk.ok("wf", "retry", parent) == "Retrying from step 0.\n"
    await reaches(desk.store, parent, "suspended")
    (second,) = (await query.get_workflow(desk.store, parent)).children
    assert second != first
    await until(lambda: is_waiting(desk, second))
    await desk.ok("wf", "resolve", f"{second}.approval", "--data", "7")
    assert await desk.ok("wf", "result", parent, "--timeout", "10s") == "7\n"


async def is_waiting(desk, invocation_id: str) -> bool:
    return (await query.get_workflow(desk.store, invocation_id)).status == "suspended"


async def test_an_awakeable_is_answered_as_get_says(desk):
    one = await desk.reached(steering.asking, "suspended")
    told = await desk.ok("wf", "get", one)
    assert "Now\twaiting for the awakeable approval\n" in told
    command = next(line for line in told.splitlines() if line.startswith("Answer\t")).split("\t")[1].split()
    assert command[:-1] == ["durablectl", "wf", "resolve", f"{one}.approval", "--data"]
    assert await desk.ok(*command[1:-1], '{"yes": true}') == "Resolved.\n"
    assert json.loads(await desk.ok("wf", "result", one)) == {"yes": True}
    again = await desk.cli(*command[1:-1], "1")
    assert again.exit_code == 7


async def test_an_awakeable_is_answered_once(desk):
    one = await desk.begun("paused")
    assert await desk.ok("wf", "reject", f"{one}.approval", "--error", "too dear") == "Rejected.\n"
    again = await desk.cli("wf", "resolve", f"{one}.approval")
    assert (again.exit_code, again.stderr) == (7, f"Error: The awakeable {one}.approval was answered before.\n")
    await desk.ok("wf", "resume", one)
    await reaches(desk.store, one, "failed")
    result = await desk.cli("wf", "result", one)
    assert (result.exit_code, "too dear" in result.stderr) == (10, True)


async def test_an_early_answer_says_so(desk):
    one = await desk.begun("suspended")
    assert await desk.ok("wf", "resolve", f"{one}.approvel") == (
        f"Resolved; the workflow does not wait for {one}.approvel yet.\n"
    )


@pytest.mark.parametrize("awakeable", ["plain", "a.b.c", "a b.c", ".x"])
async def test_what_is_no_awakeable_id_is_refused(desk, awakeable):
    assert (await desk.cli("wf", "resolve", awakeable)).exit_code == 2


async def test_signals_come_in_order_from_anywhere(desk, tmp_path):
    one = await start(desk.store, steering.listening)
    await reaches(desk.store, one, "suspended")
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
    assert await desk.ok("wf", "start", "quick", "--input", '"x"', "--id", "soon", "--delay", "1s") == "soon\n"
    view = await query.get_workflow(desk.store, "soon")
    assert (view.status, view.waiting_for.kind) == ("pending", "start")
    due = view.waiting_for.until
    assert abs(due - view.created_at - 1 * S) < S // 10
    assert await desk.ok("wf", "result", "soon") == '"x"\n'
    view = await query.get_workflow(desk.store, "soon")
    assert due - S // 100 <= view.started_at < due + S
    await desk.ok("wf", "start", "quick", "--input", "1", "--id", "later", "--at", "2999-12-24T09:00:00+01:00")
    later = json.loads(await desk.ok("wf", "get", "later", "--json"))
    assert later["waiting_for"]["until"] == "2999-12-24T08:00:00.000Z"
    assert "Now\tstarts in " in await desk.ok("wf", "get", "later")
    assert await desk.ok("wf", "cancel", "later") == "Cancelled.\n"


async def test_a_delayed_start_waits_for_its_time_not_for_a_processor(desk):
    await desk.ok("wf", "start", steering.NOBODYS, "--id", "one", "--delay", "3d")
    assert (await query.get_workflow(desk.store, "one")).waiting_for.kind == "start"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--delay", "soon"], "The --delay cannot be used: 'soon' is not a duration such as 30s, 5m, 2h30m or 3d."),
        (["--delay", "0s"], "The --delay cannot be used: it must be longer than zero."),
        (["--delay", "999999w"], "The --delay cannot be used: '999999w' does not lie between 1970 and 9999."),
        (["--at", "tomorrow"], "The --at cannot be used: 'tomorrow' is not a time."),
        (["--at", "2020-01-01"], "The --at cannot be used: '2020-01-01' lies in the past."),
        (["--delay", "1s", "--at", "2999-01-01"], "--delay and --at were given, but there is one start."),
    ],
)
async def test_a_start_that_cannot_be_delayed_so(desk, args, message):
    result = await desk.cli("wf", "start", "quick", *args)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"Error: {message}")


async def test_an_operation_needs_no_processor(desk):
    one = await start(desk.store, steering.NOBODYS)
    assert (await control.pause(desk.store, one)).status == "paused"
    assert await desk.ok("wf", "resume", one) == "Resumed.\n"
    assert (await query.get_workflow(desk.store, one)).waiting_for.kind == "processor"
