"""`durablectl status` against a real server: its groups, its exit code, its forms."""

from __future__ import annotations

import asyncio
import json

import pytest

from durablectl import Context, Retry, control, query, workflow
from durablectl.cli.main import app
from durablectl.model.clock import MICROSECONDS
from durablectl.model.codec import encode_execution
from durablectl.model.kinds import CommandKind, WaitKind
from durablectl.model.records import Command, Execution, PendingWait, named_waits
from durablectl.model.status import Status
from durablectl.query import Trouble, Urgency
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.index import index_entries, time_buckets
from durablectl.storage.index.time_buckets import Scope
from durablectl.storage.records import leases
from durablectl.storage.records.leases import Lease
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.json_schemas import check
from helpers.operations import asking, quick
from helpers.stored_commands import publish_command
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_status


@workflow
async def failing(ctx: Context, number: int) -> None:
    def fail() -> None:
        raise ValueError(f"order {number} is unknown")

    await ctx.step(fail, retry=Retry(max_attempts=1))


async def groups(store):
    return {group.trouble: group for group in (await query.get_status(store)).groups}


async def test_status_of_healthy_namespace_exits_with_zero(store, settings):
    async with running_processor(settings, quick):
        await run_to_end(store, quick, 1)
        report = await query.get_status(store)
    assert (report.groups, report.needs_person, report.moving.by_status) == ([], False, {"completed": 1})
    assert report.moving.per_minute == 0.2


def test_status_without_workflows_asks_for_setup(runner):
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 3
    assert "holds no workflows" in result.stderr


async def test_status_counts_waiting_workflows_without_processor(store, cli):
    for number in range(3):
        await start_workflow(store, "report", id=f"r{number}")
    found = await groups(store)
    assert {*found} == {Trouble.NO_PROCESSOR}
    group = found[Trouble.NO_PROCESSOR]
    assert (group.urgency, group.count, group.examples[0]) == (Urgency.ERROR, 3, "r0")
    result = await asyncio.to_thread(cli, "status", "--json")
    assert result.returncode == 1
    (value,) = check("status", result.stdout)
    assert value["groups"][0]["commands"][0]["command"] == "durablectl run processor APP"


async def test_status_names_sleepers_whose_handler_is_gone(store, settings):
    @workflow
    async def sleeper(ctx: Context) -> None:
        await ctx.sleep(89 * 86_400)

    async with running_processor(settings, sleeper):
        await start_workflow(store, sleeper, id="s")
        await wait_for_status(store, "s", "suspended")
        assert await groups(store) == {}
    group = (await groups(store))[Trouble.NO_PROCESSOR]
    assert (group.urgency, group.details["by_status"]) == (Urgency.WARNING, {"suspended": 1})
    assert group.details["first_due_at"] > (await query.get_status(store)).checked_at + 88 * 86_400_000_000


async def test_status_counts_commands_that_no_processor_takes(store, cli, monkeypatch):
    await leases.renew(store, Lease("live-1", ["served"], slots=2))
    await start_workflow(store, "waiting", id="w1")
    for number in range(3):
        await publish_command(store, Command(f"u{number}", "unknown"))
    await publish_command(store, Command("odd", "unknown"), subject=store.subjects.command("~odd", "p"))
    await publish_command(store, Command("d", "waiting", CommandKind.WAKE))
    found = await groups(store)
    assert {*found} == {Trouble.NO_PROCESSOR, Trouble.COMMANDS_STRAY}
    group = found[Trouble.COMMANDS_STRAY]
    assert (group.urgency, group.count) == (Urgency.WARNING, 5)
    assert group.details == {
        "handlers": {"unknown": 3, "waiting": 1, "~odd": 1},
        "dead": {"odd_subject": 1, "deleted": 1},
    }
    result = await asyncio.to_thread(cli, "status", "--json")
    (value,) = check("status", result.stdout)
    assert value["groups"][1]["commands"][0]["command"] == "durablectl doctor"

    # Of many, the commands are counted, not read.
    monkeypatch.setattr("durablectl.storage.diagnosis.dead_commands._MOST_JUDGED", 2)
    assert (await groups(store))[Trouble.COMMANDS_STRAY].details["handlers"] == {"unknown": 3, "~odd": 1}
    await start_workflow(store, "was_here", id="h1")
    await control.cancel(store, "h1", now=True)
    monkeypatch.setattr("durablectl.storage.diagnosis.dead_commands._MOST_SUBJECTS", 1)
    assert (await groups(store))[Trouble.COMMANDS_STRAY].details["handlers"] == {"was_here": 1}


async def test_commands_left_over_from_ended_workflows_are_notice(store):
    await start_workflow(store, "report", id="r")
    await control.cancel(store, "r", now=True)
    (group,) = (await query.get_status(store)).groups
    assert (group.trouble, group.urgency, group.count) == (Trouble.COMMANDS_STRAY, Urgency.NOTICE, 1)
    assert group.details["dead"] == {"ended": 1}


async def test_status_groups_failures_by_error(store, settings):
    async with running_processor(settings, failing):
        for number in range(3):
            await run_to_end(store, failing, number, id=f"f{number}")
        group = (await groups(store))[Trouble.FAILED]
    assert (group.count, group.details["handler"]) == (3, "failing")
    assert group.summary == "3 workflows of failing failed: order <*> is unknown"


async def test_status_tells_pauses_of_engine_and_person_apart(store, settings):
    async with running_processor(settings, asking):
        await start_workflow(store, asking, id="a")
        await wait_for_status(store, "a", "suspended")
        assert (await groups(store))[Trouble.WAITING_FOR_PERSON].urgency == Urgency.NOTICE
        await control.pause(store, "a", "the bank asked us to")
        report = await query.get_status(store)
    assert [(group.trouble, group.urgency) for group in report.groups] == [(Trouble.PAUSED_BY_OPERATOR, Urgency.NOTICE)]
    assert not report.needs_person


async def test_status_shows_full_processor_with_its_backlog(store):
    await leases.renew(store, Lease("full-1", ["report"], slots=2, busy=2))
    for number in range(3):
        await start_workflow(store, "report", id=f"r{number}")
    group = (await groups(store))[Trouble.NO_ROOM]
    assert (group.count, group.details["slots"], group.details["eta_seconds"]) == (3, 2, None)


async def test_status_samples_more_workflows_than_it_reads(store, monkeypatch):
    monkeypatch.setattr("durablectl.query.status.READ_ALL", 10)
    monkeypatch.setattr("durablectl.query.status._SAMPLE", 4)
    await leases.renew(store, Lease("full-1", ["report"], slots=2, busy=2))
    for number in range(24):
        await start_workflow(store, "report", id=f"r{number:02}")
    report = await query.get_status(store)
    assert [group.count for group in report.groups] == [24]
    assert report.groups[0].examples[0] == "r00"


async def test_status_and_stats_read_little_of_crowded_second(store, monkeypatch):
    """What a second holds is not read to find its oldest, nor to count what ended since."""
    monkeypatch.setattr("durablectl.query.status.READ_ALL", 100)
    monkeypatch.setattr("durablectl.query.status._SAMPLE", 20)
    second = (store.clock.now() - 300 * MICROSECONDS) // MICROSECONDS * MICROSECONDS
    wait = PendingWait(WaitKind.SIGNAL, "signal:go", 0)
    number = 3000
    for count in range(number):
        waiting = Execution(f"s{count:04}", "asking", Status.SUSPENDED)
        waiting.suspend([wait])
        for execution in (waiting, Execution(f"c{count:04}", "asking", Status.COMPLETED)):
            execution.created_at = execution.updated_at = execution.indexed_at = second + count * 300
            if count < 200 and execution is waiting:
                await store.nats.publish(store.subjects.state(execution.invocation_id), encode_execution(execution))
            # The same in the seconds where the rates of the last five minutes may begin.
            for later in range(1 if execution is waiting else 3):
                execution.indexed_at = second + later * MICROSECONDS + count * 300
                await store.nats.publish(index_entries.index_subject(store.subjects, execution), b"")
    await index_entries.add_waits(store, "asking", named_waits("asking", [wait]))
    await index_entries.add_handlers(store, ["asking"])

    async def is_entered() -> bool:
        return await time_buckets.count_all(store, Scope()) == 4 * number

    await wait_until(is_entered)
    read = 0
    send_many = store.requests.send_many

    async def counting(*args):
        nonlocal read
        answer = await send_many(*args)
        read += len(answer)
        return answer

    monkeypatch.setattr(store.requests, "send_many", counting)
    report = await query.get_status(store)
    assert report.moving.oldest.invocation_id == "s0000"
    assert report.moving.by_status == {"suspended": number, "completed": 3 * number}
    assert (await query.get_stats(store)).oldest_active.invocation_id == "s0000"
    assert read < number


async def test_status_finds_few_in_trouble_among_many_sleepers(store, settings, monkeypatch):
    @workflow
    async def mixed(ctx: Context, what: str) -> None:
        def charge() -> None:
            raise ConnectionError("the bank is closed")

        if what == "retry":
            await ctx.step(charge, retry=Retry(initial=3600, cap=3600, max_attempts=9))
        elif what == "ask":
            await ctx.signal("go")
        await ctx.sleep(2 if what == "due" else 89 * 86_400)

    async with running_processor(settings, mixed):
        ids = {f"{what}{number}": what for what in ("sleep", "ask", "retry", "due") for number in range(8)}
        for name in [name for name, what in ids.items() if what != "retry" or name == "retry5"]:
            await start_workflow(store, mixed, ids[name], id=name)
        for name in ("sleep7", "ask7", "retry5"):
            await wait_for_index_group(store, name, "suspended")
        for read_all, sample in ((10, 200), (4, 4)):
            monkeypatch.setattr("durablectl.query.status.READ_ALL", read_all)
            monkeypatch.setattr("durablectl.query.status._SAMPLE", sample)
            found = await groups(store)
            assert (found[Trouble.RETRYING].count, found[Trouble.RETRYING].examples) == (1, ["retry5"])
            assert (found[Trouble.WAITING_FOR_PERSON].count, found[Trouble.WAITING_FOR_PERSON].is_estimate) == (
                8,
                read_all == 4,
            )
    gone = (await groups(store))[Trouble.NO_PROCESSOR]
    assert gone.details["by_status"]["suspended"] >= 17
    assert gone.examples[0] in ids


async def test_status_finds_a_due_sleeper_among_many(store, monkeypatch):
    monkeypatch.setattr("durablectl.query.status.READ_ALL", 4)
    now = (await query.get_status(store)).checked_at
    await index_entries.add_handlers(store, {"report"})
    for number in range(12):
        until = now + 86_400_000_000 if number else now - 60_000_000
        execution = Execution(f"s{number:02}", "report", "suspended", updated_at=now, indexed_at=now + number)
        execution.suspend([PendingWait("sleep", "sleep", 0, until)])
        await index_entries.add_waits(store, "report", named_waits("report", execution.waits))
        await store.requests.publish(store.subjects.state(execution.invocation_id), encode_execution(execution), {})
        await store.requests.publish(index_entries.index_subject(store.subjects, execution), b"", {})
        if not number:
            await store.requests.exchange([wake_request(store, execution)])
    await leases.renew(store, Lease("full-1", ["report"], slots=2, busy=2))
    group = (await groups(store))[Trouble.NO_ROOM]
    assert (group.count, group.examples) == (1, ["s00"])


async def test_processors_of_two_app_versions_are_named(store):
    for number in (7, 8):
        await leases.renew(store, Lease(f"live-{number}", ["pay"], "1.0", app_version=f"shop-{number}", slots=2))
    group = (await groups(store))[Trouble.VERSION_SKEW]
    assert group.details["versions"] == ["1.0 (app shop-7)", "1.0 (app shop-8)"]
    assert group.summary == "Processors of 2 versions run pay: 1.0 (app shop-7), 1.0 (app shop-8)"


async def test_status_watch_prints_a_line_per_look(store, spawn):
    await start_workflow(store, "report", id="r")
    process = spawn("status", "--watch", "--json")

    def lines():
        return [json.loads(line) for line in process.out().splitlines(keepends=True) if line.endswith("\n")]

    await wait_until(lambda: len(lines()) >= 2)
    assert {line["groups"][0]["code"] for line in lines()} == {"no_processor"}
    process.interrupt()
    assert process.wait(60) in {1, 130}


async def test_status_off_a_terminal_is_a_line_per_group(store, cli):
    await start_workflow(store, "report", id="r")
    result = await asyncio.to_thread(cli, "status", "--namespace", store.subjects.namespace)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:3] for row in rows[1:]] == [["error", "no_processor", "1"], ["ok", "moving", "0"], ["ok", "fine", ""]]
    assert rows[1][-1] == f"durablectl run processor APP --namespace {store.subjects.namespace}"


@pytest.mark.parametrize("kind", ["states", "index", "commands", "processors"])
async def test_status_names_a_lost_stream(store, settings, kind):
    stream = getattr(store.subjects, {"states": "state_stream"}.get(kind, f"{kind}_stream"))
    async with running_processor(settings, asking):
        await start_workflow(store, asking, id="a")
        await wait_for_status(store, "a", "suspended")
    await store.requests.call(f"{store.api}.STREAM.DELETE.{stream}")
    report = await query.get_status(store)
    lost = [group for group in report.groups if group.trouble is Trouble.STREAM_LOST]
    assert [group.details["stream"] for group in lost] == [stream]
    assert report.needs_person
    if kind != "states":
        assert Trouble.NO_PROCESSOR in {group.trouble for group in report.groups}
    diagnosis = await query.diagnose(store)
    assert not diagnosis.is_healthy
