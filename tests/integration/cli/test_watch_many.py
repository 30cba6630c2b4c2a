"""`wf watch` without a processor: pushed, idle without requests, through outages, to pipes and on terminals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys

import pexpect
import pytest

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.in_process import provisioned_store
from helpers.operations import OperatorCli
from helpers.sample_stack import PROGRAM
from helpers.tail import CONTROL, consumers, ids_and_statuses, lines, no_consumers, start_live_tail
from helpers.waiting import wait_until
from integration.cli.test_tail_live import idle


@pytest.fixture
async def desk(settings):
    """Without a processor: nothing changes but by the test."""
    async with provisioned_store(settings) as store:
        yield OperatorCli(store, settings)


@pytest.fixture
def terminal(environment):
    """Run a command on a pseudo-terminal of 24 lines and 80 columns."""
    children = []

    def run(*args: str) -> pexpect.spawn:
        env = {**os.environ, **environment, "LC_ALL": "C.UTF-8"}
        child = pexpect.spawn(
            sys.executable, [*PROGRAM[1:], *args], env=env, dimensions=(24, 80), encoding="utf-8", timeout=60
        )
        children.append(child)
        return child

    yield run
    for child in children:
        child.close(force=True)


async def expect(child: pexpect.spawn, what: object) -> None:
    await asyncio.to_thread(child.expect, what)


@pytest.mark.parametrize("args", [(), ("a",)])
async def test_an_idle_watch_sends_no_request(desk, spawn, nats_server, args):
    await start_live_tail(desk, "a")
    process = spawn("wf", "watch", *args)
    await lines(process, 1)
    await idle(nats_server)
    assert process.poll() is None


@pytest.mark.parametrize("args", [(), ("a",)])
async def test_an_idle_screen_sends_no_request(desk, terminal, nats_server, args):
    await start_live_tail(desk, "a")
    child = terminal("wf", "watch", *args)
    await expect(child, "pending|waiting")
    await control.pause(desk.store, "a")
    await expect(child, "paused")
    await idle(nats_server)
    assert child.isalive()


async def test_the_newest_come_first_then_every_change_that_matches(desk, spawn):
    await start_live_tail(desk, "a", "b", "c")
    await start_live_tail(desk, "other", handler="others")
    await control.pause(desk.store, "a")
    process = spawn("wf", "watch", "--handler", "nobodys", "--status", "pending", "--limit", "1")
    await lines(process, 1)
    await control.resume(desk.store, "a")
    await lines(process, 2)
    await start_live_tail(desk, "unseen", handler="others")
    await control.pause(desk.store, "b")
    await start_live_tail(desk, "d")
    await lines(process, 3)
    assert ids_and_statuses(process.out()) == [("c", "pending"), ("a", "pending"), ("d", "pending")]
    listed = json.loads(await desk.ok("wf", "list", "--json"))["workflows"]
    assert json.loads(process.out().splitlines()[-1]) in listed
    process.interrupt()
    assert await asyncio.to_thread(process.wait, 60) == 130
    assert process.err() == ""


async def test_watch_reports_outage_and_loses_no_change(tmp_path, spawn):
    server = EmbeddedServer(tmp_path / "nats", sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings), open_store(settings) as writer:
            await start_live_tail(OperatorCli(writer, settings), "a")
            environment = {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": ""}
            many, one = (spawn("wf", "watch", *args, env=environment) for args in ((), ("a",)))
            for process in (many, one):
                await lines(process, 1)
            await asyncio.to_thread(server.kill)
            for process in (many, one):
                await wait_until(lambda process=process: "The connection to the NATS server was lost" in process.err())
            await asyncio.to_thread(server.start)
            await wait_until(lambda: writer.is_connected)
            await control.pause(writer, "a")
            await start_live_tail(OperatorCli(writer, settings), "b")
            assert ids_and_statuses("\n".join(await lines(many, 3))) == [
                ("a", "pending"),
                ("a", "paused"),
                ("b", "pending"),
            ]
            assert ids_and_statuses("\n".join(await lines(one, 2))) == [("a", "pending"), ("a", "paused")]
            for process in (many, one):
                assert len(process.err().splitlines()) == 2
                assert "Reconnected to the NATS server." in process.err()
    finally:
        server.stop()


async def test_watch_waits_for_a_workflow_not_yet_started(desk, spawn):
    process = spawn("wf", "watch", "later", "--wait")
    await wait_until(lambda: consumers(desk.store))
    await wait_until(lambda: process.err() == "There is no workflow later yet; waiting for it.\n")
    await start_live_tail(desk, "later")
    assert ids_and_statuses("\n".join(await lines(process, 1))) == [("later", "pending")]
    await control.cancel(desk.store, "later")
    assert await asyncio.to_thread(process.wait, 60) == 0
    assert ids_and_statuses(process.out())[-1] == ("later", "cancelled")


async def test_watching_ended_workflow_needs_no_consumer(desk, monkeypatch):
    await start_live_tail(desk, "a")
    await control.cancel(desk.store, "a")
    monkeypatch.setattr("durablectl.query.watch.follow", None)
    result = await desk.cli("wf", "watch", "a", "--exit-status")
    assert result.exit_code == 11
    assert ids_and_statuses(result.stdout) == [("a", "cancelled")]


@pytest.mark.parametrize("args", [(), ("a",)])
async def test_closed_pipe_ends_watch_quietly(desk, environment, args):
    await start_live_tail(desk, "a")
    process = subprocess.Popen(
        [*PROGRAM, "wf", "watch", *args],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(await asyncio.to_thread(process.stdout.readline))["invocation_id"] == "a"
    process.stdout.close()
    assert await asyncio.to_thread(process.wait, 60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    await wait_until(lambda: no_consumers(desk.store))


async def test_the_board_follows_changes_and_the_size_of_the_terminal(desk, terminal):
    await start_live_tail(desk, "aaa", "bbb")
    child = terminal("wf", "watch")
    await expect(child, "2 workflows.*2 pending")
    await start_live_tail(desk, "ccc")
    await expect(child, "ccc")
    await expect(child, "3 workflows.*3 pending")
    await control.cancel(desk.store, "aaa")
    await expect(child, "cancelled")
    await expect(child, "2 pending.*1 cancelled")
    child.setwinsize(10, 30)
    await expect(child, re.escape("\x1b[2J"))
    child.sendintr()
    await expect(child, pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    left = CONTROL.sub("", child.before.rpartition("\x1b[?1049l")[2]).replace("\r", "")
    assert "Traceback" not in left
    shown = [line for line in left.splitlines() if line.strip("^C ")]
    assert all(len(line) <= 30 for line in shown)
    assert [line.split()[1] for line in shown[-3:]] == ["aaa", "ccc", "bbb"]


async def test_contradictory_watch_options_are_refused(desk):
    for args, message in (
        (("a", "--status", "failed"), "An ID names one workflow, but filters or --limit were given too."),
        (("a", "--limit", "3"), "An ID names one workflow, but filters or --limit were given too."),
        (("--wait",), "--wait is about one workflow, but no ID was given."),
        (("--status", "faild"), "There is no status 'faild'."),
    ):
        result = await desk.cli("wf", "watch", *args)
        assert result.exit_code == 2, args
        assert message in result.stderr
