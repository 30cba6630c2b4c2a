"""Clocks that are wrong by an hour, or jump: of a processor, of one of two, of who starts and steers, of the server."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import timedelta

import pytest

from durablectl import Retry, control, query, workflow
from durablectl.cli.main import app
from durablectl.engine.worker.wake_conditions import EARLY_US
from durablectl.model.clock import MICROSECONDS, SteadyClock
from durablectl.query import Filters
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.records import states
from helpers.in_process import provisioned_store, running_processor
from helpers.paths import APPS
from helpers.processor_processes import alive, start_at
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_output, wait_for_status

HOUR = 3600
SECONDS = 6
"""Long enough to be seen suspended on a busy machine."""
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "behind"])
SHIFTED = str(APPS / "shifted_clock.py")
APP = """
from durablectl import workflow

@workflow
async def nap(ctx, seconds):
    await ctx.sleep(seconds)
    return "rested"
"""
begun: list[str] = []


@workflow
async def nap(ctx, seconds: float):
    begun.append(ctx.invocation_id)
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@workflow
async def asks(ctx):
    begun.append(ctx.invocation_id)
    try:
        await ctx.awakeable("approval", timeout=timedelta(seconds=SECONDS))
    except TimeoutError:
        return "nobody came"


@workflow(timeout=timedelta(seconds=SECONDS))
async def late(ctx):
    begun.append(ctx.invocation_id)
    await ctx.awakeable("approval")


tries: list[float] = []


async def flaky():
    tries.append(time.monotonic())
    if len(tries) == 1:
        raise ValueError("not yet")


@workflow
async def tries_again(ctx):
    await ctx.step(flaky, retry=Retry(initial=4, jitter=0))


@pytest.fixture
def machine(monkeypatch):
    """Sets the clock of this machine wrong by so many seconds."""
    true_time_ns = time.time_ns

    def jump(seconds: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + seconds * 1_000_000_000)

    return jump


async def lasts_its_seconds(store, invocation_id: str, since: float) -> None:
    """By a clock that nobody sets, not an hour longer; and it was not begun again and again meanwhile."""
    await wait_for_outcome(store, invocation_id)
    assert time.monotonic() - since > SECONDS - EARLY_US / MICROSECONDS
    assert begun.count(invocation_id) <= 3


def test_a_clock_that_agrees_moves_no_more_than_the_other_shows():
    clock = SteadyClock()
    now = clock.now()
    assert clock.agree(now + 500, now, now + 1_000) == 0
    assert clock.agree(now - 5_000_000, now, now + 1_000) == -5_000_000
    assert now - 5_000_000 <= clock.now() < now
    assert clock.agree(now + 7_000_000, now - 10, now) == 7_000_000


@JUMPS
async def test_processor_with_wrong_machine_clock_uses_server_time(settings, store, machine, jump, caplog):
    machine(jump)
    async with running_processor(settings, nap, asks, late):
        machine(0)
        since = time.monotonic()
        ids = [
            await start_workflow(store, nap, SECONDS),
            await start_workflow(store, asks),
            await start_workflow(store, late),
        ]
        for each in ids:
            await wait_for_status(store, each, "suspended")
        for each in ids:
            await lasts_its_seconds(store, each, since)
        views = [await query.get_workflow(store, each) for each in ids]
    assert [view.status for view in views] == ["completed", "completed", "failed"]
    assert views[1].output == "nobody came"
    for view in views:
        # The clocks of client and processor agree as closely as one request is quick.
        assert view.created_at - 60 * MICROSECONDS < view.started_at <= view.finished_at
        assert view.finished_at < view.created_at + 60 * MICROSECONDS
    # The clocks of processor and server are compared as closely as one request is quick.
    (wrong,) = re.findall(
        rf"was ([\d.]+) s {'ahead of' if jump > 0 else 'behind'} that of the NATS server", caplog.text
    )
    assert abs(float(wrong) - HOUR) < 60


@JUMPS
async def test_clock_jump_during_waits_and_retries_keeps_due_times(settings, store, machine, jump):
    tries.clear()
    async with running_processor(settings, nap, tries_again):
        since = time.monotonic()
        sleeping, trying = await start_workflow(store, nap, SECONDS), await start_workflow(store, tries_again)
        await wait_for_status(store, sleeping, "suspended")
        await wait_until(lambda: tries)
        machine(jump)
        await lasts_its_seconds(store, sleeping, since)
        await wait_for_outcome(store, trying)
        assert tries[1] - tries[0] > 3.9


@JUMPS
async def test_timer_fired_during_clock_error_is_not_lost(settings, store, jump):
    """Between two looks at the server, as on a machine that has slept."""
    async with running_processor(settings, nap) as running:
        since = time.monotonic()
        suspended, delayed = await start_workflow(store, nap, SECONDS), await start_at(store, nap, SECONDS, 0)
        await wait_for_status(store, suspended, "suspended")
        now = running.store.clock.now()
        running.store.clock.agree(now + jump * MICROSECONDS, now, now)
        for each in (suspended, delayed):
            await store.requests.exchange([wake_request(store, (await states.load(store, each)).execution)])
        await lasts_its_seconds(store, suspended, since)
        await lasts_its_seconds(store, delayed, since)
        assert abs(running.store.clock.now() - time.time_ns() // 1000) < 60 * MICROSECONDS


async def test_failover_works_between_machines_an_hour_apart(store, spawn, tmp_path):
    """The one that sets the timer dies; the other, set back by an hour meanwhile, goes on in time."""
    defined, ahead, behind = (tmp_path / name for name in ("app.py", "ahead", "behind"))
    defined.write_text(APP)
    ahead.write_text(str(HOUR))
    behind.write_text("0")
    process = [
        spawn(str(file), "run", "processor", str(defined), command=[sys.executable, SHIFTED])
        for file in (ahead, behind)
    ]
    for each in process:
        await alive(store, each)
    since = time.monotonic()
    ids = [await start_workflow(store, "nap", 10) for _ in range(8)]
    for each in ids:
        await wait_for_status(store, each, "suspended")
    behind.write_text(str(-HOUR))
    process[0].kill()
    for each in ids:
        assert await wait_for_output(store, each) == "rested"
    assert time.monotonic() - since > 9.9


@JUMPS
async def test_client_with_wrong_machine_clock_writes_valid_records(settings, machine, jump, runner):
    names = [f"w{n}" for n in range(4)]
    async with running_processor(settings, nap), provisioned_store(settings) as right:
        for each in ("before", "ended"):
            await control.start(right, control.StartRequest("nap", 60 if each == "before" else 0, each))
        await wait_for_status(right, "before", "suspended")
        machine(jump)
        async with provisioned_store(settings) as wrong:
            for each in names:
                await control.start(wrong, control.StartRequest("nap", 60, each))
                await wait_for_status(wrong, each, "suspended")
            await control.pause(wrong, "w0")
            await control.pause(wrong, "w1")
            await control.resume(wrong, "w1")
            await control.cancel(wrong, "before")
            await wait_for_status(wrong, "before", "cancelled")
            for command in (["wf", "get", "before"], ["wf", "timeline", "before"], ["wf", "list"], ["wf", "stats"]):
                for output in ([], ["--json"]):
                    shown = await asyncio.to_thread(runner.invoke, app, [*command, *output])
                    assert shown.exit_code == 0, shown.output
                    assert not re.search(r"(?<![\w-])-\d+(\.\d+)? ?(ms|s|min|h)\b|seconds\": -", shown.output), (
                        shown.output
                    )
        machine(0)
        await wait_for_status(right, "w1", "suspended")
        for each in ("before", "ended"):
            view = await query.get_workflow(right, each)
            assert view.finished_at >= view.started_at
        everything = {*names, "before", "ended"}
        found, cursor = [], ""
        while True:
            page = await query.list_workflows(right, Filters(), 2, cursor=cursor)
            assert page.total == len(everything)
            found += [view.invocation_id for view in page.workflows]
            cursor = page.next_cursor
            if not cursor:
                break
        assert sorted(found) == sorted(everything)
        assert (await query.get_stats(right)).total == len(everything)
        now = time.time_ns() // 1000
        since = await query.list_workflows(right, Filters(since=now), 10)
        before = await query.list_workflows(right, Filters(until=now), 10)
        assert since.total + before.total == len(everything)
        assert {v.invocation_id for v in [*since.workflows, *before.workflows]} == everything
