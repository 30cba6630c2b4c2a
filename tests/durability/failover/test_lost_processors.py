"""What is known of a processor that died or was silent: since when, what it held, and what the survivors do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest

from durablectl import query
from durablectl.engine.worker.command_pump import CommandPump
from durablectl.errors import StorageError
from durablectl.storage.records import leases, presence
from helpers.in_process import running_processor
from helpers.operations import quick
from helpers.processor_processes import alive, kill
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import asyncio
from pathlib import Path
from durablectl import workflow

@workflow
async def hang(ctx):
    await ctx.step(wait_for_file)
    return "released"

async def wait_for_file():
    while not Path(__file__).with_suffix(".released").exists():
        await asyncio.sleep(0.05)
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    path = tmp_path / "hanging.py"
    path.write_text(APP, encoding="utf-8")
    return path


async def lost(store) -> list[query.LostProcessorView]:
    return await query.lost_processors(store)


async def test_survivor_records_when_a_processor_died_and_what_it_held(store, spawn, cli, hanging):
    first = spawn("run", "processor", str(hanging))
    dead = await alive(store, first)
    ids = [await start_workflow(store, "hang", id=f"h{n}") for n in range(3)]
    for each in ids:
        await wait_for_status(store, each, "running")
    second = spawn("run", "processor", str(hanging))
    await alive(store, second)
    assert await lost(store) == []
    before = store.clock.now()
    kill(first)

    async def is_recorded() -> bool:
        return [each.held for each in await lost(store)] == [3]

    await wait_until(is_recorded)
    (view,) = await lost(store)
    assert (view.processor_id, view.handlers, sorted(view.held_ids)) == (dead, ["hang"], ids)
    assert before - 5_000_000 < view.lost_at < store.clock.now()
    assert "Claiming 3 workflows of processors that are gone." in second.err()
    told = json.loads(cli("processors", "--json").stdout)
    assert [each["processor_id"] for each in told["lost"]] == [dead]
    rows = [line.split("\t") for line in cli("processors").stdout.splitlines()]
    state = rows[0].index("STATE")
    assert [row[0] for row in rows if row[state].startswith("lost ")] == [dead]
    hanging.with_suffix(".released").touch()
    for each in ids:
        assert (await wait_for_outcome(store, each)).output() == "released"


async def test_the_only_processor_that_died_is_shown_without_a_survivor(store, spawn, cli, hanging):
    process = spawn("run", "processor", str(hanging))
    dead = await alive(store, process)
    kill(process)

    async def is_gone() -> bool:
        return not await query.live_processors(store)

    await wait_until(is_gone)
    done = cli("processors")
    assert dead in done.stdout
    assert "No live processor." in done.stderr


async def test_stopped_processor_is_not_lost(store, spawn, hanging):
    process = spawn("run", "processor", str(hanging))
    await alive(store, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.err()
    assert await presence.recent(store) == []
    assert await lost(store) == []


async def test_stopped_processor_is_not_lost_to_those_that_still_run(settings, store, monkeypatch):
    looked_at = []

    async def mark_lost(store, processor_id, *said):
        await really_mark(store, processor_id, *said)
        looked_at.append(processor_id)

    really_mark = presence.mark_lost
    monkeypatch.setattr(presence, "mark_lost", mark_lost)
    async with running_processor(settings, quick) as survivor:
        async with running_processor(settings, quick) as stopped:
            await wait_until(lambda: leases.is_alive(store, stopped.id))
        await wait_until(lambda: stopped.id in looked_at)
        assert [each.lease.processor_id for each in await presence.recent(store)] == [survivor.id]
        assert await lost(store) == []


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_processor_whose_start_fails_is_not_lost(settings, store, monkeypatch, is_hidden):
    async def fail(_):
        assert [each.seen_at > 0 for each in await presence.recent(store)] == [True]
        raise StorageError("the true error")

    async def fail_to_remove(*_):
        raise RuntimeError("another error")

    monkeypatch.setattr(CommandPump, "start", fail)
    if is_hidden:
        monkeypatch.setattr(presence, "remove", fail_to_remove)
    with pytest.raises(StorageError, match="the true error"):
        async with running_processor(settings, quick):
            pass
    if not is_hidden:
        assert await presence.recent(store) == []
        assert await query.live_processors(store) == []


async def test_lease_is_renewed_while_presence_cannot_be_recorded(settings, store, monkeypatch):
    is_stuck = asyncio.Event()

    async def wait_for_an_election(*_):
        is_stuck.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(presence, "REFRESH_SECONDS", 0.1)
    async with running_processor(settings, quick) as running:
        monkeypatch.setattr(presence, "refresh", wait_for_an_election)
        await wait_until(is_stuck.is_set)
        seen = set()

        async def is_renewed_again() -> bool:
            lease = await leases.load(store, running.id)
            seen.add(lease and lease.machine_time)
            return len(seen) > 3

        await wait_until(is_renewed_again)
        assert None not in seen
    assert await presence.recent(store) == []


async def test_failure_to_record_presence_is_logged_once(settings, store, monkeypatch, caplog):
    failures = []

    async def fail(*_):
        failures.append(1)
        raise StorageError("no room")

    monkeypatch.setattr(presence, "refresh", fail)
    monkeypatch.setattr("durablectl.engine.worker.presence_writer._RETRY_SECONDS", 0.05)
    async with running_processor(settings, quick) as running:
        await wait_until(lambda: len(failures) > 3)
        assert await leases.is_alive(store, running.id)
    told = f"The presence of {running.id} could not be recorded"
    assert [told in each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == [True]


async def test_frozen_processor_is_silent_and_then_back(store, spawn, hanging):
    frozen, other = spawn("run", "processor", str(hanging)), spawn("run", "processor", str(hanging))
    name = await alive(store, frozen)
    await alive(store, other)
    os.killpg(frozen.pid, signal.SIGSTOP)

    async def is_recorded() -> bool:
        assert [each.processor_id for each in await lost(store) if not each.returned_at] in ([], [name])
        return any(each.lost_at for each in await presence.recent(store))

    async def is_back() -> bool:
        return [each.processor_id for each in await lost(store) if each.returned_at > each.lost_at] == [name]

    await wait_until(is_recorded)
    os.killpg(frozen.pid, signal.SIGCONT)
    await wait_until(is_back)


async def test_survivor_without_the_handler_claims_nothing_and_says_so(settings, store, spawn, hanging, caplog):
    first = spawn("run", "processor", str(hanging))
    await alive(store, first)
    for n in range(4):
        await start_workflow(store, "hang", id=f"h{n}")
        await wait_for_status(store, f"h{n}", "running")
    async with running_processor(settings, quick):
        kill(first)
        told = "4 workflows of processors that are gone wait: no live processor has their handler hang."
        await wait_until(lambda: told in caplog.text)
        assert "Claiming" not in caplog.text
