"""`wf watch ID`: children are part of the tree and move with it; the screen outlives an outage."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pexpect

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.in_process import provisioned_store
from helpers.operations import OperatorCli, delegating, operator_cli
from helpers.sample_stack import PROGRAM
from helpers.tail import CONTROL, start_live_tail
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow


def on_terminal(env: dict[str, str], *args: str) -> pexpect.spawn:
    env = {**os.environ, "LC_ALL": "C.UTF-8", **env}
    return pexpect.spawn(
        sys.executable, [*PROGRAM[1:], *args], env=env, dimensions=(24, 80), encoding="utf-8", timeout=60
    )


async def test_changes_of_children_are_shown(settings, spawn, environment):
    async with operator_cli(settings) as place:
        parent = await start_workflow(place.store, delegating, "key")
        process = spawn("wf", "watch", parent, "--expand")
        screen = on_terminal(environment, "wf", "watch", parent, "--expand")

        def last() -> dict:
            return json.loads(process.out().splitlines()[-1]) if process.out().endswith("\n") else {}

        def waiting() -> str:
            children = last().get("child_workflows") or [{}]
            return children[0]["invocation_id"] if children[0].get("status") == "suspended" else ""

        child = await wait_until(waiting)
        assert [step["step_type"] for step in last()["child_workflows"][0]["journal"]] == ["note", "awakeable:approval"]
        await asyncio.to_thread(screen.expect, "note")
        await control.cancel(place.store, child)
        assert await asyncio.to_thread(process.wait, 60) == 0
        await asyncio.to_thread(screen.expect, pexpect.EOF)
        assert last()["status"] == "failed"
        assert [each["status"] for each in last()["child_workflows"]] == ["cancelled"]
        left = CONTROL.sub("", screen.before.rpartition("\x1b[?1049l")[2])
        assert f"└ ⊘ {child}" in left
        await wait_until(lambda: folded(place, parent))
        told = json.loads((await place.ok("wf", "watch", parent)).splitlines()[-1])
        assert {**told, "changes": None} == json.loads(await place.ok("wf", "get", parent, "--json"))


async def folded(place: OperatorCli, parent: str) -> bool:
    return json.loads(await place.ok("wf", "get", parent, "--json"))["status"] == "failed"


async def test_outage_is_shown_on_the_screen(tmp_path):
    server = EmbeddedServer(tmp_path / "nats", sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings), open_store(settings) as writer:
            await start_live_tail(OperatorCli(writer, settings), "a")
            screen = on_terminal({"NATS_URL": server.url}, "wf", "watch", "a")
            await asyncio.to_thread(screen.expect, "waiting")
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(screen.expect, "The connection to the NATS server was lost; reconnecting")
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(screen.expect, "Reconnected to the NATS server")
            await wait_until(lambda: writer.is_connected)
            await control.cancel(writer, "a")
            await asyncio.to_thread(screen.expect, pexpect.EOF)
            left = CONTROL.sub("", screen.before.rpartition("\x1b[?1049l")[2])
            assert [line.partition(":")[0] for line in left.splitlines()[:2]] == ["Warning", "Warning"]
            assert "cancelled" in left
    finally:
        server.stop()
