"""A command on a machine whose clock is wrong: it says so, and shows ages by the clock of the server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from durablectl import Client, query
from durablectl.cli.main import app  # noqa: F401 - imported before the clock is shifted
from durablectl.embedded import EmbeddedServer
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.paths import APPS
from helpers.processor_processes import alive
from helpers.views import S
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status

if TYPE_CHECKING:
    from pathlib import Path

SHIFTED = str(APPS / "shifted_clock.py")
APP = """
from durablectl import workflow

@workflow
async def asks(ctx):
    return await ctx.awakeable("approval")
"""


@pytest.fixture
def defined(tmp_path: Path) -> str:
    path = tmp_path / "app.py"
    path.write_text(APP, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("shift", "told"), [(605, "ahead of"), (-605, "behind")])
async def test_reader_with_a_wrong_clock_says_so_and_shows_true_ages(
    store, spawn, environment, defined, tmp_path, shift, told
):
    await alive(store, spawn("run", "processor", defined))
    await start_workflow(store, "asks", id="a1")
    await wait_for_status(store, "a1", "suspended")
    file = tmp_path / "shift"
    file.write_text(str(shift), encoding="utf-8")

    def shifted(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SHIFTED, str(file), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    done = shifted("processors", "--time", "relative")
    assert done.returncode == 0, done.stderr
    assert re.match(
        rf"Warning: The clock of this machine is 10 min 0\d s {told} that of the NATS server\.", done.stderr
    )
    started = done.stdout.splitlines()[1].split("\t")[5]
    assert started.endswith(" s ago") or started in {"1 min ago", "2 min ago"}, started
    listed = shifted("processors", "--json")
    assert listed.returncode == 0
    assert json.loads(listed.stdout)["processors"]
    assert all(json.loads(line)["warning"] for line in listed.stderr.splitlines())
    diagnosed = shifted("doctor", "--json")
    (check,) = [each for each in json.loads(diagnosed.stdout)["checks"] if each["name"] == "clocks"]
    assert (diagnosed.returncode, check["severity"]) == (1, "warning")
    (wrong,) = check["wrong"]
    assert (wrong["processor_id"], round(wrong["ahead_seconds"])) == (None, pytest.approx(shift, abs=2))


async def test_processor_with_a_wrong_clock_is_named(store, spawn, cli, defined, tmp_path):
    file = tmp_path / "shift"
    file.write_text("-600", encoding="utf-8")
    process = spawn(str(file), "run", "processor", defined, command=[sys.executable, SHIFTED])
    name = await alive(store, process)

    async def is_named() -> bool:
        return [each.processor_id for each in await query.live_processors(store) if each.has_wrong_clock] == [name]

    await wait_until(is_named)
    rows = [line.split("\t") for line in cli("processors").stdout.splitlines()]
    state = rows[1][rows[0].index("STATE")]
    assert "clock" in state
    assert state.endswith("behind the server's")
    diagnosed = json.loads(cli("doctor", "--json").stdout)
    (check,) = [each for each in diagnosed["checks"] if each["name"] == "clocks"]
    assert (check["severity"], check["count"], diagnosed["healthy"]) == ("warning", 1, False)
    (wrong,) = check["wrong"]
    assert (wrong["processor_id"], round(wrong["ahead_seconds"] / 60)) == (name, -10)


@pytest.mark.parametrize("shift", [605, -605])
async def test_times_counted_from_now_go_by_the_server(store, spawn, environment, defined, tmp_path, shift):
    await alive(store, spawn("run", "processor", defined))
    await start_workflow(store, "asks", id="a1")
    await wait_for_status(store, "a1", "suspended")
    file = tmp_path / "shift"
    file.write_text(str(shift), encoding="utf-8")

    def shifted(*arguments: str) -> str:
        command = [sys.executable, SHIFTED, str(file), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert shifted("wf", "list", "--since", "5m", "-o", "name") == "a1\n"
    assert shifted("wf", "list", "--until", "5m", "-o", "name") == ""
    assert shifted("wf", "list", "--created-since", "5m", "-o", "name") == "a1\n"
    assert json.loads(shifted("wf", "stats", "--since", "5m", "--json"))["total"] == 1
    assert '"a1"' in shifted("wf", "tail", "--since", "5m", "--limit", "1", "--json")
    assert shifted("wf", "pause", "--since", "5m", "--dry-run", "-o", "name") == "a1\n"
    assert shifted("wf", "pause", "--until", "5m", "--dry-run", "-o", "name") == ""
    before = time.time()
    shifted("wf", "start", "asks", "--id", "late", "--delay", "300s")
    due = (await query.get_workflow(store, "late")).waiting_for.until / S
    assert before + 298 < due < time.time() + 302
    soon = datetime.fromtimestamp(time.time() + 300, UTC).isoformat()
    shifted("wf", "start", "asks", "--id", "at", "--at", soon)
    assert (await query.get_workflow(store, "at")).waiting_for.kind == "start"


async def test_program_with_a_wrong_clock_counts_by_the_server(store, settings, monkeypatch):
    await start_workflow(store, "asks", id="a1")
    true_time_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + 605 * S * 1000)
    async with Client(url=settings.url, namespace=settings.namespace) as client:
        await client.start("asks", id="late", delay=300)
        late = await client.get_workflow("late")
        assert 298 * S < late.waiting_for.until - true_time_ns() // 1000 < 302 * S
        page = await client.list_workflows(since=timedelta(minutes=5))
        assert {each.invocation_id for each in page.workflows} == {"a1", "late"}
        assert await client.count_workflows(until=timedelta(minutes=5)) == 0


async def test_server_without_streams_tells_the_time(tmp_path, monkeypatch):
    true_time_ns = time.time_ns
    with EmbeddedServer(tmp_path) as server:
        async with open_store(Settings(url=server.url, timeout=30)) as store:
            SYSTEM_CLOCK.forget()
            monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + 605 * S * 1000)
            assert abs(await query.server_time(store) - true_time_ns() // 1000) < 60 * S


async def test_time_of_server_is_not_needed_where_asking_is_denied(tmp_path):
    denied = 'authorization: {token: t, permissions: {publish: {deny: "$SYS.>"}}}'
    with EmbeddedServer(tmp_path, config=denied) as server:
        async with open_store(Settings(url=server.url, token="t", timeout=30)) as store:  # noqa: S106  # the test's own
            SYSTEM_CLOCK.forget()
            before = time.time_ns() // 1000
            assert before <= await query.server_time(store) <= time.time_ns() // 1000
