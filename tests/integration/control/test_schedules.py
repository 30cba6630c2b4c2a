"""Recurring starts: `durablectl schedule`, and what its fires lead to, with nats-server doing the firing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from durablectl import Client, control, query, workflow
from durablectl.cli.render.schedules import schedule_table, schedule_text
from durablectl.engine.worker import schedule_firing
from durablectl.model.schedules import Schedule
from durablectl.storage.connection.store import open_store, purge_request
from durablectl.storage.streams import direct_get
from durablectl.storage.streams.stored_messages import parse_timestamp_us
from helpers import operations
from helpers.in_process import running_processor
from helpers.stored_commands import no_commands_left
from helpers.views import S
from helpers.waiting import PATIENCE, wait_until
from helpers.workflow_runs import wait_for_status

seen: list[object] = []


@workflow
async def tick(ctx, what):
    return await ctx.step(seen.append, what, name="see")


@workflow
async def slow(ctx, what):
    return await ctx.step(operations.hold, what)


@pytest_asyncio.fixture
async def store(settings):
    async with open_store(settings) as opened:
        yield opened


@pytest.fixture
def desk(store, settings):
    return operations.OperatorCli(store, settings)


async def started(store, handler: str) -> list[query.WorkflowView]:
    """The oldest first."""
    return [*reversed((await query.list_workflows(store, query.Filters.parse((), [handler]))).workflows)]


async def until_started(store, handler: str, count: int, timeout: float = PATIENCE) -> list[query.WorkflowView]:
    async def enough():
        found = await started(store, handler)
        return found if len(found) >= count else None

    return await wait_until(enough, timeout)


async def test_schedule_starts_workflows_repeatedly(store, desk, settings):
    async with running_processor(settings, tick):
        told = await desk.ok("schedule", "create", "beat", "tick", "--every", "1s", "--input", '{"n": 1}')
        assert told.startswith("Created; it starts tick next at 20")
        views = await until_started(store, "tick", 3)
        await desk.ok("schedule", "pause", "beat")
    # Named after the second in which it fired; on a busy machine one may be skipped while the last one runs.
    fired = [view.invocation_id for view in views[:3]]
    assert fired == sorted(set(fired))
    assert views[0].schedule == "beat"
    assert views[0].invocation_id.startswith("beat-20")
    assert views[0].input == {"n": 1}
    assert "Schedule\tbeat\n" in await desk.ok("wf", "get", views[0].invocation_id)


async def test_paused_schedule_starts_nothing_until_resumed(store, desk, settings):
    async with running_processor(settings, tick):
        await desk.ok("schedule", "create", "beat", "tick", "--every", "1", "--input", "1")
        await until_started(store, "tick", 1)
        assert await desk.ok("schedule", "pause", "beat") == "Paused.\n"
        assert await desk.ok("schedule", "pause", "beat") == "It was paused already.\n"
        await wait_until(lambda: no_commands_left(store))
        count = len(await started(store, "tick"))
        await asyncio.sleep(2.2)
        assert len(await started(store, "tick")) == count
        told = json.loads(await desk.ok("schedule", "resume", "beat", "--json"))
        assert (told["changed"], told["paused"]) == (True, False)
        await until_started(store, "tick", count + 1)
        assert (await desk.ok("schedule", "resume", "beat")).startswith("It was not paused; it starts tick next at 20")


async def test_skip_is_the_default_while_the_last_one_runs(store, desk, settings, caplog):
    caplog.set_level(logging.INFO, "durablectl.engine.worker.schedule_firing")
    async with running_processor(settings, slow):
        await desk.ok("schedule", "create", "careful", "slow", "--every", "1s", "--input", '"careful"')
        await wait_until(lambda: has_skipped(store, "careful", 2))
        assert len(await started(store, "slow")) == 1
        operations.release("careful")
        await until_started(store, "slow", 2)
        await control.pause_schedule(store, "careful")
    view = (await control.get_schedule(store, "careful")).to_json()
    assert (view["fired"], view["caught_up"]) == (len(await started(store, "slow")), 0)
    assert "Schedule careful: skipped, careful-20" in caplog.text
    assert f"Skipped\t{view['skipped']} times\n" in await desk.ok("schedule", "get", "careful")


async def has_skipped(store, name: str, times: int) -> bool:
    return (await control.get_schedule(store, name)).schedule.skipped >= times


async def test_overlap_allow_starts_during_a_run(store, desk, settings):
    async with running_processor(settings, slow):
        await desk.ok(
            "schedule", "create", "eager", "slow", "--every", "1s", "--input", '"eager"', "--overlap", "allow"
        )
        views = await until_started(store, "slow", 3)
        await control.pause_schedule(store, "eager")
        assert {view.status for view in views} <= {"pending", "running"}
        operations.release("eager")


async def test_one_catch_up_for_all_that_was_missed(store, desk, settings, monkeypatch, caplog):
    """Fires go on while no processor is there; the newest of them is left to be caught up, and it is said."""
    monkeypatch.setattr(schedule_firing, "CATCH_UP_MICROSECONDS", S // 2)
    caplog.set_level(logging.INFO, "durablectl.engine.worker.schedule_firing")
    await desk.ok("schedule", "create", "beat", "tick", "--every", "1s", "--input", '"late"')
    fires = store.subjects.fires("tick", "beat")
    first = await wait_until(lambda: newest(store, fires))
    await wait_until(lambda: newest(store, fires, first.sequence + 1))
    assert await started(store, "tick") == []
    # Nothing new may come in between: the last fire is then more than half a second old.
    await stop_firing(store, "beat")
    last = await newest(store, fires)
    await wait_until(lambda: time.time() * S > parse_timestamp_us(last.stored_at) + 0.7 * S)
    async with running_processor(settings, tick):
        await until_started(store, "tick", 1)
        await asyncio.sleep(0.5)
        assert len(await started(store, "tick")) == 1
    view = (await control.get_schedule(store, "beat")).to_json()
    assert (view["fired"], view["caught_up"]) == (1, 1)
    assert "Schedule beat: catching up on a missed fire, started beat-20" in caplog.text
    told = await desk.ok("schedule", "get", "beat")
    assert "Fired\t1 time, 1 of them to catch up on what was missed while no processor was there\n" in told


async def newest(store, subject: str, least: int = 0):
    """The message on the subject, if it has at least this sequence."""
    found = await direct_get.get_last(store, store.subjects.commands_stream, subject)
    return found if found is not None and found.sequence >= least else None


async def stop_firing(store, name: str) -> None:
    """And leave what was fired: as if the server had been down since."""
    await store.requests.exchange(
        [purge_request(store, store.subjects.commands_stream, store.subjects.recurrence(name))]
    )


async def test_trigger_starts_paused_schedule_immediately(store, desk, settings):
    await desk.ok("schedule", "create", "daily", "tick", "--cron", "0 9 * * *", "--input", '"now"')
    await desk.ok("schedule", "pause", "daily")
    async with running_processor(settings, tick):
        invocation_id = (await desk.ok("schedule", "trigger", "daily")).strip()
        view = await wait_for_status(store, invocation_id, "completed")
        told = json.loads(await desk.ok("schedule", "trigger", "daily", "--json"))
        await wait_for_status(store, told["invocation_id"], "completed")
    assert (view.schedule, view.input, told["schedule"]) == ("daily", "now", "daily")


async def test_deleted_schedule_starts_nothing_and_frees_its_name(store, desk, settings):
    async with running_processor(settings, tick):
        await desk.ok("schedule", "create", "beat", "tick", "--every", "1s", "--input", "1")
        await until_started(store, "tick", 1)
        assert await desk.ok("schedule", "delete", "beat") == "Deleted.\n"
        await wait_until(lambda: no_commands_left(store))
        count = len(await started(store, "tick"))
        await asyncio.sleep(1.7)
        assert len(await started(store, "tick")) == count
    for command in ("get", "delete", "pause", "resume", "trigger"):
        result = await desk.cli("schedule", command, "beat")
        assert (result.exit_code, result.stderr.splitlines()[0]) == (3, "Error: There is no schedule beat.")
    assert json.loads(await desk.ok("schedule", "list", "--json")) == {"schedules": []}
    await desk.ok("schedule", "create", "beat", "tick", "--every", "1h")


async def test_list_and_get_show_schedules(desk):
    await desk.ok(
        "schedule", "create", "report", "tick", "--cron", "30 8 * * 1-5", "--tz", "Europe/Berlin",
        "--input", '{"a": 1}', "--partition-key", "eu",
    )  # fmt: skip
    await desk.ok("schedule", "create", "beat", "tick", "--every", "5m", "--overlap", "allow")
    await desk.ok("schedule", "pause", "beat")
    rows = [line.split("\t") for line in (await desk.ok("schedule", "list")).splitlines()]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [(row["NAME"], row["CRON"], row["TIME_ZONE"], row["EVERY_SECONDS"], row["PAUSED"]) for row in table] == [
        ("beat", "", "", "300", "true"),
        ("report", "30 8 * * 1-5", "Europe/Berlin", "", "false"),
    ]
    assert (await desk.ok("schedule", "list", "-o", "name")).split() == ["beat", "report"]
    listed = json.loads(await desk.ok("schedule", "list", "--json"))["schedules"]
    assert [json.loads(line) for line in (await desk.ok("schedule", "list", "-o", "jsonl")).splitlines()] == listed
    report = json.loads(await desk.ok("schedule", "get", "report", "--json"))
    assert report == listed[1]
    assert (report["input"], report["partition_key"], report["time_zone"]) == ({"a": 1}, "eu", "Europe/Berlin")
    assert report["next_at"].endswith(":30:00.000Z")
    told = await desk.ok("schedule", "get", "report")
    assert "When\t30 8 * * 1-5 Europe/Berlin\n" in told
    assert f"Next\t{report['next_at']}\n" in told
    assert "Paused\tyes\n" in await desk.ok("schedule", "get", "beat")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "A schedule needs either a cron expression or an interval."),
        (["--every", "5m", "--cron", "* * * * *"], "A schedule needs either a cron expression or an interval."),
        (["--cron", "0 9 * *"], "The cron expression '0 9 * *' has 4 of five fields."),
        (["--cron", "61 * * * *"], "The cron expression '61 * * * *' is wrong: Bad minute."),
        (["--cron", "0 0 30 2 *"], "The cron expression '0 0 30 2 *' is wrong: Bad day-of-month."),
        (["--cron", "0 0 L * *"], "The cron expression '0 0 L * *' is wrong: 'L' is unknown to nats-server."),
        (["--cron", "0 0 * * 1#2"], "The cron expression '0 0 * * 1#2' is wrong: '#' is unknown to nats-server."),
        (["--cron", "0 9 * * *", "--tz", "Mars/Base"], "There is no time zone 'Mars/Base'."),
        (["--every", "5m", "--tz", "UTC"], "--tz is about --cron, which was not given."),
        (["--every", "often"], "The --every cannot be used: 'often' is not a duration such as 30s, 5m, 2h30m or 3d."),
        (["--every", "1500ms"], "The --every cannot be used: '1500ms' is not a whole number of seconds."),
        (["--every", "1m", "--overlap", "queue"], "The schedule bad cannot be: every 60 s, overlap 'queue'."),
        (["--every", "1m", "--input", "oops"], "The input is not JSON: expecting value at column 1, near 'oops'."),
    ],
)
async def test_invalid_schedule_is_refused(desk, args, message):
    result = await desk.cli("schedule", "create", "bad", "tick", *args)
    assert (result.exit_code, result.stdout, result.stderr.splitlines()[0]) == (2, "", f"Error: {message}")
    assert (await desk.cli("schedule", "list", "-o", "name")).stdout == ""


async def test_a_name_is_taken_once(desk):
    await desk.ok("schedule", "create", "beat", "tick", "--every", "1h")
    result = await desk.cli("schedule", "create", "beat", "tick", "--every", "2h", "--json")
    assert (result.exit_code, json.loads(result.stderr)["error"]["code"]) == (7, "already_exists")
    assert (await desk.cli("schedule", "create", "a.b", "tick", "--every", "1h")).exit_code == 2
    assert json.loads(await desk.ok("schedule", "get", "beat", "--json"))["every_seconds"] == 3600


async def test_missing_processor_is_noted_on_create(desk):
    result = await desk.cli("schedule", "create", "beat", "tick", "--every", "1h")
    assert result.stderr.startswith("No live processor has registered the handler 'tick'")


@pytest.mark.parametrize(
    ("cron", "expression"),
    [
        ("0 9 * * 7", "0 0 9 * * 0"),
        ("0 9 * * 5-7", "0 0 9 * * 0,5,6"),
        ("*/5 * 1,15 jan-mar mon", "0 */5 * 1,15 jan-mar mon"),
        ("0 0 * * */7", "0 0 0 * * */7"),
        ("7 7 7 7 *", "0 7 7 7 7 *"),
    ],
)
async def test_nats_server_takes_every_cron_that_we_take(store, desk, cron, expression):
    assert Schedule("x", "tick", cron=cron).expression() == expression
    await desk.ok("schedule", "create", "x", "tick", "--cron", cron)
    assert not (await control.get_schedule(store, "x")).schedule.paused


def test_the_next_fire_follows_the_clock_of_the_time_zone():
    schedule = Schedule("x", "tick", cron="0 9 * * *", time_zone="Europe/Berlin")
    for day, hour in ((datetime(2026, 11, 22, tzinfo=UTC), 8), (datetime(2026, 7, 1, tzinfo=UTC), 7)):
        assert schedule.next_after(int(day.timestamp()) * S) == int(day.replace(hour=hour).timestamp()) * S


@pytest.mark.long
async def test_cron_fires_by_the_minute(store, desk, settings):
    async with running_processor(settings, tick):
        await desk.ok("schedule", "create", "minutely", "tick", "--cron", "* * * * *", "--input", "1")
        (view,) = await until_started(store, "tick", 1, timeout=65)
    assert datetime.fromtimestamp(view.created_at / S, UTC).second == 0


async def test_the_sdk_sees_the_link(desk, settings):
    await desk.ok("schedule", "create", "daily", "tick", "--cron", "0 9 * * *", "--input", "1")
    invocation_id = (await desk.ok("schedule", "trigger", "daily")).strip()
    async with Client(url=settings.url, namespace=settings.namespace) as client:
        assert (await client.get_workflow(invocation_id)).schedule == "daily"


async def test_a_schedule_whose_message_is_gone_shows_that_and_is_armed_again(store):
    await control.create_schedule(store, "nightly", "h", cron="0 3 * * *")
    subject = store.subjects.recurrence("nightly")
    await store.requests.exchange([purge_request(store, store.subjects.commands_stream, subject)])
    (view,) = await control.list_schedules(store)
    assert (view.is_armed, view.next_at, view.to_json()["armed"]) == (False, 0, False)
    assert "it does not fire" in schedule_text(view)
    assert "never: not armed" in schedule_table([view], 0, 120).plain
    await control.repair(store)
    view = await control.get_schedule(store, "nightly")
    assert view.is_armed
    assert view.next_at
