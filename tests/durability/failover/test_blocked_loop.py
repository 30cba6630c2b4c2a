"""Code that blocks the event loop of its processor is named and executed once; a frozen processor is still found."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request

import pytest

from blocking_app import BLOCKING_EFFECTS
from durablectl import query
from helpers.paths import APPS
from helpers.processor_processes import alive, kill
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_output

APP = str(APPS / "blocking_app.py")
BLOCKED = re.compile(r"has been blocked for ([\d.]+) s by (.*?), at (.*?)\. No other")
OVER = re.compile(r"was blocked for ([\d.]+) s by (.*?), at .* It runs again")


@pytest.fixture
def effects(tmp_path):
    return tmp_path / "effects"


@pytest.fixture
def start_processor(spawn, effects):
    def start(*options):
        return spawn("run", "processor", APP, "--grace", "1", *options, env={BLOCKING_EFFECTS: str(effects)})

    return start


def begun(effects) -> list:
    return [json.loads(line) for line in effects.read_text().splitlines()] if effects.exists() else []


async def by_pid(store, *processes):
    """The processes by the id of their processors."""
    return dict(zip(await asyncio.gather(*(alive(store, each) for each in processes)), processes, strict=True))


async def test_step_that_blocks_longer_than_the_lease_runs_once(store, start_processor, effects):
    processes = [start_processor("--ack-wait", "30"), start_processor("--ack-wait", "30")]
    await by_pid(store, *processes)
    invocation_id = await start_workflow(store, "pays", 8)
    await wait_until(lambda: begun(effects))
    blocked = next(each for each in processes if each.pid == begun(effects)[0][1])
    shown = await wait_until(lambda: blocked_view(store))
    assert shown.process_id == blocked.pid
    assert shown.blocked_by.startswith(f"step 0 'charge' of workflow {invocation_id} (handler 'pays'), at {APP}:")
    # What JetStream hands to the blocked one meanwhile is run by the other.
    others = [await start_workflow(store, "quick") for _ in range(10)]
    for other in others:
        await wait_for_output(store, other)
    assert await wait_for_output(store, invocation_id) == blocked.pid
    assert begun(effects) == [["charge", blocked.pid]]
    assert (await query.get_workflow(store, invocation_id)).attempt == 1
    await wait_until(lambda: OVER.search(blocked.err()))
    _, what, place = BLOCKED.search(blocked.err()).groups()
    assert what == f"step 0 'charge' of workflow {invocation_id} (handler 'pays')"
    assert re.fullmatch(re.escape(APP) + r":\d+ in charge", place)
    assert float(OVER.search(blocked.err())[1]) > 2
    assert "blocked" not in next(each for each in processes if each is not blocked).err()
    await wait_until(lambda: none_blocked(store))


async def blocked_view(store):
    return next((view for view in await query.live_processors(store) if view.blocked_since), None)


async def none_blocked(store) -> bool:
    return not await blocked_view(store)


async def test_blocked_loop_names_step_of_a_nested_task_and_handler(store, start_processor, port):
    process = start_processor("--http-port", str(port))
    await alive(store, process)
    nested = await start_workflow(store, "pays_in_task", 3)
    await wait_for_output(store, nested)
    own = await start_workflow(store, "sleeps_itself", 3)
    await wait_for_output(store, own)
    await wait_until(lambda: len(OVER.findall(process.err())) == 2)
    assert [found[1] for found in OVER.findall(process.err())] == [
        f"step 0 'charge_in_task' of workflow {nested} (handler 'pays_in_task')",
        f"the handler itself of workflow {own} (handler 'sleeps_itself')",
    ]
    metrics = await asyncio.to_thread(read, f"http://127.0.0.1:{port}/metrics")
    assert "durablectl_event_loop_blocks_total 2.0" in metrics
    assert float(re.search(r"durablectl_event_loop_blocked_seconds_total ([\d.]+)", metrics)[1]) > 2


def read(url) -> str:
    with urllib.request.urlopen(url) as answer:  # noqa: S310  # an http URL
        return answer.read().decode()


async def test_commands_delivered_to_blocked_processor_run_elsewhere(store, start_processor, effects):
    """Long before its loop runs again."""
    processes = [start_processor(), start_processor()]
    await by_pid(store, *processes)
    await start_workflow(store, "pays", 3600)
    await wait_until(lambda: begun(effects))
    others = [await start_workflow(store, "quick") for _ in range(20)]
    (free,) = {each.pid for each in processes} - {begun(effects)[0][1]}
    assert {await wait_for_output(store, other) for other in others} == {free}


async def test_block_longer_than_ack_wait_is_taken_over(store, start_processor, effects):
    first = start_processor("--ack-wait", "6")
    await alive(store, first)
    await start_workflow(store, "pays", 3600)
    await wait_until(lambda: begun(effects))
    second = start_processor("--ack-wait", "6")
    await wait_until(lambda: len(begun(effects)) == 2)
    assert begun(effects) == [["charge", first.pid], ["charge", second.pid]]
    assert "This is longer than --ack-wait" in first.err()


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_blocked_processor_that_is_frozen_or_killed_is_taken_over(store, start_processor, effects, how):
    first = start_processor()
    await alive(store, first)
    await start_workflow(store, "pays", 3600)
    await wait_until(lambda: begun(effects))
    second = start_processor()
    await wait_until(lambda: blocked_view(store))
    if how == "frozen":
        os.killpg(first.pid, signal.SIGSTOP)
    else:
        kill(first)
    await wait_until(lambda: begun(effects)[-1][1] == second.pid)


async def test_consecutive_blocking_steps_run_once_each(store, start_processor, effects):
    """Their processor has little time in between to renew its lease."""
    processes = [start_processor(), start_processor()]
    await by_pid(store, *processes)
    ids = [await start_workflow(store, "pays_again_and_again", [2.5, 2.5]) for _ in range(4)]
    outputs = [await wait_for_output(store, invocation_id) for invocation_id in ids]
    assert sorted(pid for _, pid in begun(effects)) == sorted(pid for output in outputs for pid in output)


@pytest.mark.parametrize("handler", ["pays", "sleeps_itself"])
async def test_stop_ends_though_the_loop_is_blocked(store, start_processor, effects, handler):
    """It ends as one that has not handed back, and another processor takes over long before ``--ack-wait``."""
    first = start_processor("--ack-wait", "3600")
    await alive(store, first)
    invocation_id = await start_workflow(store, handler, 3600)
    await wait_until(lambda: begun(effects))
    second = start_processor("--ack-wait", "3600")
    await alive(store, second)
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 60) == 1
    assert "Stopped without handing back: the event loop has been blocked for" in first.err()
    assert f"of workflow {invocation_id} (handler {handler!r}), at {APP}:" in first.err().splitlines()[-1]
    await wait_until(lambda: begun(effects)[-1][1] == second.pid)


async def test_stop_waits_within_its_grace_for_a_blocking_step(store, start_processor, effects):
    process = start_processor("--ack-wait", "3600", "--grace", "3600")
    await alive(store, process)
    invocation_id = await start_workflow(store, "pays", 3)
    await wait_until(lambda: begun(effects))
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 60) == 0
    assert (await query.get_workflow(store, invocation_id)).status == "completed"
    assert begun(effects) == [["charge", process.pid]]


async def test_second_signal_ends_a_blocked_processor_at_once(store, start_processor, effects):
    process = start_processor("--grace", "3600")
    await alive(store, process)
    await start_workflow(store, "pays", 3600)
    await wait_until(lambda: begun(effects))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, 60) == 130


async def test_code_that_holds_the_interpreter_lock_is_taken_over(store, start_processor, effects):
    """No thread of its process runs, the watchdog neither: as if the process were frozen."""
    first = start_processor("--ack-wait", "3600")
    await alive(store, first)
    invocation_id = await start_workflow(store, "holds_interpreter", 15)
    await wait_until(lambda: begun(effects))
    second = start_processor("--ack-wait", "3600")
    assert await wait_for_output(store, invocation_id) == second.pid
    assert begun(effects) == [["hold_interpreter", first.pid], ["hold_interpreter", second.pid]]
    await wait_until(lambda: "Fenced out, nothing more was written" in first.err())
    assert (await query.get_workflow(store, invocation_id)).output == second.pid
