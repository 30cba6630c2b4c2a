"""`wf watch ID`: children are part of the tree and move with it; the screen outlives an outage."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace

import pexpect

from durablectl import control
from durablectl.cli.render.watch import board_frame, cropped, watch_end, watch_frame
from durablectl.embedded import EmbeddedServer
from durablectl.query import Board
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers import views
from helpers.in_process import provisioned_store
from helpers.operations import Desk, delegating, desk
from helpers.sample_stack import PROGRAM
from helpers.tail import CONTROL, live
from helpers.views import NOW
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow

CHILDREN = {child.invocation_id: child for child in views.CHILDREN}


def on_terminal(env: dict[str, str], *args: str) -> pexpect.spawn:
    env = {**os.environ, "LC_ALL": "C.UTF-8", **env}
    return pexpect.spawn(
        sys.executable, [*PROGRAM[1:], *args], env=env, dimensions=(24, 80), encoding="utf-8", timeout=60
    )


async def test_changes_of_children_are_shown(settings, spawn, environment):
    async with desk(settings) as place:
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
        assert told == json.loads(await place.ok("wf", "get", parent, "--json"))


async def folded(place: Desk, parent: str) -> bool:
    return json.loads(await place.ok("wf", "get", parent, "--json"))["status"] == "failed"


async def test_outage_is_shown_on_the_screen(tmp_path):
    server = EmbeddedServer(tmp_path / "nats", sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings), open_store(settings) as writer:
            await live(Desk(writer, settings), "a")
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


def test_child_is_drawn_below_its_step_with_its_known_steps():
    children = {**CHILDREN, "gone-0a1b2-c3d4e-f5a6b": None}
    lines = watch_end(views.PARENT, NOW, 120, children).plain.splitlines()
    assert [line.split()[1] for line in lines if "└" in line] == ["✓", "✗", "?", "↻"]
    ship = "ship-0a1b2-c3d4e-f5a6b"
    expanded = {**children, ship: replace(views.RETRYING, invocation_id=ship)}
    assert len(watch_end(views.PARENT, NOW, 120, expanded).plain.splitlines()) == len(lines)
    more = watch_end(views.PARENT, NOW, 120, expanded, expanded=True).plain.splitlines()
    assert len(more) == len(lines) + 4  # two steps, the one under way, its error
    assert "no service answers" in more[-2]


def test_a_child_that_has_not_been_heard_of_has_no_line():
    assert "└" not in watch_frame(views.PARENT, NOW, 80, 24, None).plain


def test_tree_taller_than_the_screen_keeps_its_bottom():
    steps = [views.step(number) for number in range(100)]
    view = replace(views.RUNNING, journal=steps, journal_length=100, current_step=100, total_steps=101)
    for height in (1, 2, 5, 8, 24):
        lines = watch_frame(view, NOW, 80, height, None).plain.splitlines()
        assert len(lines) <= height
        assert "100 steps done" in lines[-1]
    assert len(lines) == 24
    assert lines[1] == "  81 earlier steps not shown"
    assert cropped(watch_end(view, NOW, 80), 3).plain.splitlines()[0] == "async_workflow  running-0001"


def test_a_board_fits_the_screen():
    board = Board([*views.ALL.values()], {"completed": 1200, "running": 30, "failed": 4, "odd": 1})
    for width, height in ((80, 8), (30, 8), (80, 3), (200, 60)):
        lines = board_frame(board, NOW, width, height).plain.splitlines()
        assert len(lines) <= height
        assert lines[0].startswith("1,235 workflows")
    assert lines[0] == "1,235 workflows   ✓ 1,200 completed   ▶ 30 running   ✗ 4 failed   ? 1 odd"
    assert board_frame(Board([], {}), NOW, 80, 24).plain == "No workflows."
