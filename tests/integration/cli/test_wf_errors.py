"""`wf errors`: failures that are alike come together, and the command offered for them finds just those."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pexpect
import pytest
import pytest_asyncio

from durablectl import Context, Retry, TerminalError, control, query, workflow
from durablectl.cli.render.error_clusters import errors_table, rest_note
from durablectl.query import ErrorCluster, ErrorsView, FailedStepCount
from durablectl.query.error_clusters import LONGEST_LITERAL
from durablectl.storage.connection.store import open_store
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.operations import OperatorCli
from helpers.sample_stack import PROGRAM
from helpers.views import NOW, S
from helpers.workflow_runs import start_workflow, wait_for_status

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@workflow
async def refusing(_ctx, message):
    raise TerminalError(message)


@workflow
async def crashing(ctx, message):
    await ctx.step(crash, message, name="charge", retry=Retry(max_attempts=1))


def crash(message):
    raise ConnectionError(message)


@pytest_asyncio.fixture
async def desk(settings):
    async with running_processor(settings, refusing, crashing), open_store(settings) as store:
        yield OperatorCli(store, settings)


async def failed(desk, handler, *messages: str) -> list[str]:
    """Their ids, the first failure first."""
    ids = []
    for message in messages:
        ids.append(await start_workflow(desk.store, handler, message))
        await wait_for_index_group(desk.store, ids[-1], "failed")
    return ids


async def errors(desk, *args: str) -> list[dict]:
    found = json.loads(await desk.ok("wf", "errors", "--json", *args))
    assert found["total"] == len(found["errors"])
    assert found["failures"] == sum(each["count"] for each in found["errors"])
    return found["errors"]


async def chosen(desk, command: str) -> set[str]:
    """The ids that the offered command would retry."""
    program, *args = shlex.split(command)
    assert program == "durablectl"
    return set((await desk.ok(*args, "--dry-run", "-o", "name")).split())


async def test_failures_that_differ_in_numbers_and_ids_come_together(desk):
    orders = await failed(desk, refusing, *(f"order {n} of 'user {n}': HTTP 503 after {n}.5 s" for n in range(4)))
    others = await failed(desk, refusing, "the bank is closed", "the bank is closed")
    [first, second] = await errors(desk)
    assert (first["count"], first["message"]) == (4, "order <*> of 'user <*>': HTTP 503 after <*> s")
    assert (first["handler"], first["error_type"], first["steps"]) == ("refusing", "TerminalError", [])
    assert first["samples"] == orders[:0:-1]
    assert first["example"] == "order 3 of 'user 3': HTTP 503 after 3.5 s"
    times = [(await query.get_workflow(desk.store, each)).to_json()["updated_at"] for each in orders]
    assert (first["first_at"], first["last_at"]) == (times[0], times[-1])
    assert (second["count"], second["message"]) == (2, "the bank is closed")
    assert await chosen(desk, first["command"]) == set(orders)
    assert await chosen(desk, second["command"]) == set(others)
    words = shlex.split(second["command"])
    assert words == [
        *("durablectl", "wf", "retry", "--status", "failed", "--handler", "refusing"),
        *("--error", "the bank is closed", "--since", second["first_at"]),
    ]


async def test_step_is_named_and_not_part_of_the_message(desk):
    ids = await failed(desk, crashing, "no answer from 10.0.0.1", "no answer from 10.0.0.2")
    [cluster] = await errors(desk)
    assert cluster["message"] == "no answer from <*>"
    assert cluster["processor_id"] == (await query.get_workflow(desk.store, ids[0])).owner != ""
    assert cluster["error_type"] == "StepError"
    assert cluster["steps"] == [{"step_type": "charge", "step_number": 0, "count": 2}]
    assert cluster["example"] == "Step 0 'charge' failed at its first attempt: no answer from 10.0.0.2"
    assert "--error 'no answer from 10.0.0.'" in cluster["command"]
    assert await chosen(desk, cluster["command"]) == set(ids)


async def test_a_quote_at_the_end_of_the_common_part_is_left_out(desk):
    ids = await failed(desk, refusing, "'17' is gone", "'4' is gone")
    [cluster] = await errors(desk)
    assert "--error 'is gone' " in cluster["command"]
    assert await chosen(desk, cluster["command"]) == set(ids)


async def test_the_same_message_of_another_handler_is_another_error(desk):
    await failed(desk, refusing, "no", "no")
    await failed(desk, crashing, "no")
    assert [(each["handler"], each["count"]) for each in await errors(desk)] == [("refusing", 2), ("crashing", 1)]
    assert [each["handler"] for each in await errors(desk, "--handler", "crashing")] == ["crashing"]


async def test_own_workflow_id_does_not_split_a_cluster(desk):
    for name in ("tom", "dick"):
        await start_workflow(desk.store, refusing, f"{name} is stuck", id=name)
        await wait_for_index_group(desk.store, name, "failed")
    [cluster] = await errors(desk)
    assert (cluster["message"], cluster["samples"]) == ("<*> is stuck", ["dick", "tom"])
    assert await chosen(desk, cluster["command"]) == {"tom", "dick"}


async def test_no_clusters_without_a_common_message(desk):
    ids = await failed(desk, refusing, "1", "23")
    [cluster] = await errors(desk)
    assert "--error" not in cluster["command"]
    assert await chosen(desk, cluster["command"]) == set(ids)


@pytest.mark.parametrize(
    "message", ['it\'s\n  over "now" $HOME `id` \\ ;', "--yes", "-\t-", "ünïcode ✗", "x" * 3000, "a\x00b c"]
)
async def test_any_message_makes_a_command_that_a_shell_takes(desk, message):
    ids = await failed(desk, refusing, message)
    [cluster] = await errors(desk)
    assert await chosen(desk, cluster["command"]) == set(ids)
    assert cluster["command"].isprintable()
    words = shlex.split(cluster["command"])
    assert 0 < len(words[words.index("--error") + 1]) <= LONGEST_LITERAL


async def test_the_filters_choose_and_are_part_of_the_command(desk):
    [early] = await failed(desk, refusing, "no way 1")
    changed = (await query.get_workflow(desk.store, early)).updated_at
    request = control.StartRequest("refusing", "no way 2", partition_key="p")
    late = await control.start(desk.store, request)
    view = await wait_for_status(desk.store, late, "failed")
    await wait_for_index_group(desk.store, late, "failed")
    assert view.updated_at > changed
    since = datetime.fromtimestamp((changed + 1) / S, UTC).isoformat()
    [cluster] = await errors(desk, "--since", since, "--until", "2100-01-01", "--created-since", "1h")
    assert cluster["samples"] == [late]
    assert re.search(r"--until \S+ --created-since \S+", cluster["command"])
    [cluster] = await errors(desk, "--partition-key", "p", "--error", "NO WAY")
    assert cluster["samples"] == [late]
    assert await chosen(desk, cluster["command"]) == {late}
    assert "--partition-key p" in cluster["command"]
    assert (await desk.cli("wf", "errors", "--status", "failed")).exit_code == 2


async def test_the_command_goes_to_the_same_server_without_its_secrets(desk):
    await failed(desk, refusing, "no")
    url, space = desk.settings.url, desk.settings.namespace
    [cluster] = await errors(desk, "--nats-url", url, "--namespace", space, "--password", "secret", "--user", "me")
    assert f"wf retry --nats-url {url} --namespace {space} --status" in cluster["command"]
    assert "secret" not in cluster["command"]


async def test_workflows_that_did_not_fail_are_left_out(desk):
    assert json.loads(await desk.ok("wf", "errors", "--json")) == {"errors": [], "total": 0, "failures": 0}
    result = await desk.cli("wf", "errors")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No failures.\n")
    await failed(desk, refusing, "no")
    result = await desk.cli("wf", "errors", "--since", "2100-01-01T00:00:00Z")
    assert result.stderr == "No failures since 2100-01-01T00:00:00.000Z.\n"


async def test_reached_limit_prints_a_note(desk):
    await failed(desk, refusing, "one", "two", "two", "three")
    result = await desk.cli("wf", "errors", "--limit", "1")
    header, row = [line.split("\t") for line in result.stdout.splitlines()]
    assert header == [
        *("COUNT", "HANDLER", "STEP", "FIRST", "LAST", "SAMPLES", "ERROR_TYPE", "ERROR", "COMMAND"),
        *("VERSION", "PROCESSOR", "APP_VERSION"),
    ]
    assert (row[0], row[1], row[7], len(row)) == ("2", "refusing", "two", 12)
    assert result.stderr == "Showing 1 of 3 errors, 4 failures in all. --limit shows more.\n"
    found = json.loads(await desk.ok("wf", "errors", "--limit", "1", "--json"))
    assert (len(found["errors"]), found["total"], found["failures"]) == (1, 3, 4)
    one_a_line = (await desk.ok("wf", "errors", "-o", "jsonl")).splitlines()
    assert [json.loads(line)["count"] for line in one_a_line] == [2, 1, 1]


async def test_more_than_a_page_is_read_with_progress(monkeypatch, desk):
    await failed(desk, refusing, *(f"no {n}" for n in range(7)))
    monkeypatch.setattr("durablectl.query.selection.MAX_LIMIT", 3)
    told: list[int] = []
    found = await query.get_errors(desk.store, progress=told.append)
    assert [(each.message, each.count) for each in found.errors] == [("no <*>", 7)]
    assert told == [3, 6]


async def test_on_a_terminal(desk, environment):
    ids = await failed(desk, crashing, *(f"no answer from host {n} of the many in the cluster" for n in range(3)))
    env = {**os.environ, **environment, "LC_ALL": "C.UTF-8"}
    command = [*PROGRAM[1:], "wf", "errors"]
    child = pexpect.spawn(sys.executable, command, env=env, dimensions=(24, 80), encoding="utf-8", timeout=60)
    await asyncio.to_thread(child.expect, pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[31m" in child.before
    written = CONTROL.sub("", child.before).replace("\r", "").splitlines()
    assert written[0].split() == ["COUNT", "HANDLER", "STEP", "FIRST", "LAST", "ERROR"]
    assert re.fullmatch(r" +3  crashing  0 charge +\d+s +\d+s  no answer from host <\*> of the.*…", written[1])
    assert len(written[1]) <= 80
    assert written[2] == f"  {' '.join(ids[::-1])}"
    assert written[3].startswith("  all on ")
    assert written[4].startswith("  durablectl wf retry --status failed --handler crashing --error ")


async def test_wf_errors_on_empty_server_prints_one_sentence(runner):
    from durablectl.cli.main import app

    result = await asyncio.to_thread(runner.invoke, app, ["wf", "errors"])
    assert result.exit_code == 3
    assert "This NATS server holds no workflows yet" in result.stderr


@workflow
async def charging(ctx: Context, card: str) -> None:
    def charge(number: str) -> None:
        raise ConnectionError(f"bank refused card {number}")

    await ctx.step(charge, card, retry=Retry(initial=3600, cap=3600, max_attempts=9))


@workflow
async def ordering(ctx: Context, message: str) -> None:
    await ctx.invoke(refusing, message)


async def test_version_and_processor_are_those_all_of_a_group_agree_on(settings):
    async with open_store(settings) as store:
        desk = OperatorCli(store, settings)
        async with running_processor(settings, refusing, charging, version="1.2.3"):
            ended = await failed(desk, refusing, "no 1")
            waiting = await start_workflow(store, charging, "11")
            await wait_for_status(store, waiting, "suspended")
            owner = (await query.get_workflow(store, ended[0])).owner
        [active] = await errors(desk, "--active")
        assert (active["version"], active["processor_id"]) == ("1.2.3", owner)
        async with running_processor(settings, refusing, version="1.2.3"):
            await failed(desk, refusing, "no 2")
        [same_version] = await errors(desk)
        assert (same_version["version"], same_version["processor_id"]) == ("1.2.3", None)
        async with running_processor(settings, refusing, version="1.2.4"):
            await failed(desk, refusing, "no 3")
        [differing] = await errors(desk)
        assert (differing["count"], differing["version"], differing["processor_id"]) == (3, None, None)


async def test_version_of_app_is_told_apart_from_durablectl(settings):
    async with open_store(settings) as store:
        desk = OperatorCli(store, settings)
        async with running_processor(settings, refusing, version="1.2.3", app_version="shop-7"):
            await failed(desk, refusing, "no 1")
            ended = await failed(desk, refusing, "no 2")
            (live,) = await query.live_processors(store)
            assert (live.version, live.app_version) == ("1.2.3", "shop-7")
        view = (await query.get_workflow(store, ended[0])).to_json()
        assert (view["version"], view["app_version"], view["last_owner"]) == ("1.2.3", "shop-7", live.processor_id)
        [agreed] = await errors(desk)
        assert (agreed["version"], agreed["app_version"]) == ("1.2.3", "shop-7")
        async with running_processor(settings, refusing, version="1.2.3", app_version="shop-8"):
            await failed(desk, refusing, "no 3")
        [differing] = await errors(desk)
        assert (differing["version"], differing["app_version"]) == ("1.2.3", None)


async def test_a_record_without_a_version_shows_none(desk):
    [old] = await failed(desk, refusing, "no 1")
    [cluster] = await errors(desk)
    assert (cluster["samples"], cluster["version"]) == ([old], None)


async def test_active_errors_are_those_of_steps_that_back_off(settings):
    async with running_processor(settings, charging), open_store(settings) as store:
        desk = OperatorCli(store, settings)
        ids = [await start_workflow(store, charging, f"{n}{n}") for n in range(3)]
        for each in ids:
            await wait_for_status(store, each, "suspended")
        assert await errors(desk) == []
        (found,) = await errors(desk, "--active")
        assert (found["count"], found["handler"], found["message"]) == (3, "charging", "bank refused card <*>")
        assert [step["step_type"] for step in found["steps"]] == ["charge"]
        assert "wf retry-now" in found["command"]
        assert "--step charge" in found["command"]
        assert await chosen(desk, found["command"]) == {*ids}
        told = await desk.ok("wf", "errors", "--active")
        assert "bank refused card <*>" in told


async def test_a_failure_of_a_child_is_counted_with_the_child(settings):
    async with running_processor(settings, refusing, ordering), open_store(settings) as store:
        desk = OperatorCli(store, settings)
        ids = [await start_workflow(store, ordering, f"no stock of item {n}{n}") for n in range(2)]
        for each in ids:
            await wait_for_status(store, each, "failed")
        (found,) = await errors(desk)
        assert (found["count"], found["handler"], found["outermost_handlers"]) == (4, "refusing", ["ordering"])
        assert await chosen(desk, found["command"]) == {*ids}


CLUSTER = ErrorCluster(
    handler="checkout",
    error_type="ValueError",
    message="order <*> is too large\x1b",
    count=1234,
    first_at=NOW - 7200 * S,
    last_at=NOW - 5 * S,
    samples=["aaaaa-bbbbb-ccccc-ddddd", "aaaaa-bbbbb-ccccc-eeeee"],
    steps=[FailedStepCount("charge", None, 1000), FailedStepCount("ship", 3, 234)],
    literal="is too large",
    example="order 17 is too large",
    version="1.2.3",
    processor_id="host-1-4711-a1b2c3",
)


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_ids_and_commands_are_never_cut(width):
    command = "durablectl wf retry --status failed --handler checkout --error 'is too large'"
    text = errors_table([CLUSTER, replace(CLUSTER, count=2)], [command, command], NOW, width).plain
    assert text.count(command) == 2
    assert all(text.count(sample) == 2 for sample in CLUSTER.samples)
    overview = [line for line in text.splitlines() if not line.startswith("  ") or "checkout  charge" in line]
    assert all(len(line) <= width for line in overview)


def test_the_table_at_120_columns():
    text = errors_table([CLUSTER], ["durablectl wf retry"], NOW, 120).plain
    assert text.splitlines() == [
        "COUNT  HANDLER   STEP       FIRST  LAST  ERROR",
        "1,234  checkout  charge +1     2h    5s  ValueError: order <*> is too large\\x1b",
        "  aaaaa-bbbbb-ccccc-ddddd aaaaa-bbbbb-ccccc-eeeee",
        "  all on host-1-4711-a1b2c3, durablectl 1.2.3",
        "  durablectl wf retry",
    ]
    assert rest_note(ErrorsView([CLUSTER], 1, 5)) == ""
