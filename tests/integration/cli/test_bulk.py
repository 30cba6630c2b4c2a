"""Many workflows changed at once: chosen by ids, from a pipe, by filters; asked about, tried out, accounted for."""

from __future__ import annotations

import json
import time

import pytest
import pytest_asyncio

from durablectl import query
from helpers import operations
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow


@pytest_asyncio.fixture
async def desk(settings):
    async with operations.operator_cli(settings) as opened:
        yield opened


async def statuses(desk) -> dict[str, int]:
    return dict((await query.get_stats(desk.store)).by_status)


async def pending(desk, count: int) -> list[str]:
    return [
        await start_workflow(desk.store, operations.UNSERVED_HANDLER, id=f"p{number:02d}") for number in range(count)
    ]


async def test_several_ids_are_accounted_for_one_by_one(desk):
    good, bad = await desk.start_in_status("suspended"), await desk.start_in_status("completed")
    result = await desk.cli("wf", "pause", good, bad, "no such", good)
    assert result.exit_code == 6
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[good, "ok"], [bad, "failed"], ["no such", "failed"]]
    assert lines[0][2] == "Paused."
    assert "completed" in lines[1][2]
    assert "' '" in lines[2][2]
    assert result.stderr == "3 workflows: 1 changed, 2 failed.\n"


async def test_several_ids_as_json_have_the_same_keys(desk):
    good, bad = await desk.start_in_status("paused"), await desk.start_in_status("completed")
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
        await desk.start_in_status("failed")
    ids = await desk.ok("wf", "list", "--status", "failed", "-o", "name")
    operations.healed.update(ids.split())
    result = await desk.cli("wf", "retry", "-", "-o", "name", input=f"{ids}\n\n{ids}")
    assert (result.exit_code, result.stdout.splitlines()) == (0, ids.split())
    await wait_until(lambda: has_only(desk, "completed"))
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
async def test_missing_selection_is_refused(desk, args, message):
    result = await desk.cli("wf", "cancel", *args)
    assert (result.exit_code, message in result.stderr) == (2, True)


async def test_filters_ask_first(desk):
    await pending(desk, 12)
    await desk.start_in_status("completed")
    refused = await desk.cli("wf", "cancel", "--handler", operations.UNSERVED_HANDLER)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        "Error: This would cancel 12 workflows; nothing was changed.\nAdd --yes to do it, or --dry-run to see which.\n"
    )
    assert await statuses(desk) == {"pending": 12, "completed": 1}
    done = await desk.cli("wf", "cancel", "--handler", operations.UNSERVED_HANDLER, "--yes")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 12)
    assert done.stderr == "12 workflows: 12 changed.\n"
    assert await statuses(desk) == {"cancelled": 12, "completed": 1}


async def test_filters_select_workflows_that_the_operation_can_change(desk):
    """Without --status; with it, what cannot be changed fails."""
    await pending(desk, 2)
    done, paused = await desk.start_in_status("completed"), await desk.start_in_status("paused")
    result = await desk.cli(
        "wf", "pause", "--handler", operations.UNSERVED_HANDLER, "--handler", "quick", "--yes", "-o", "name"
    )
    assert result.stdout.split() == ["p00", "p01"]
    result = await desk.cli("wf", "pause", "--status", "completed", "--yes")
    assert (result.exit_code, result.stdout.split("\t")[:2]) == (6, [done, "failed"])
    result = await desk.cli("wf", "resume", "--handler", "asking", "--yes", "-o", "name")
    assert result.stdout.split() == [paused]
    result = await desk.cli(
        "wf", "delete", "--handler", "quick", "--handler", operations.UNSERVED_HANDLER, "--yes", "-o", "name"
    )
    assert result.stdout.split() == [done]
    nothing = await desk.cli("wf", "retry", "--handler", "quick")
    assert (nothing.exit_code, nothing.stderr) == (0, "Nothing to retry: no workflow matches.\n")


async def test_a_dry_run_shows_and_changes_nothing(desk):
    ids = await pending(desk, 12)
    told = await desk.cli("wf", "cancel", "--status", "pending", "--dry-run", "--yes")
    assert told.exit_code == 0
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert rows[0] == ["ID", "HANDLER", "STATUS", "CREATED"]
    assert [row[:3] for row in rows[1:]] == [[each, operations.UNSERVED_HANDLER, "pending"] for each in ids]
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
