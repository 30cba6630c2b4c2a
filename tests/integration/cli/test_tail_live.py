"""`wf tail`: pushed, through outages, to a closed pipe and on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request

import pexpect
import pytest

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.in_process import provisioned_store
from helpers.operations import OperatorCli
from helpers.sample_stack import PROGRAM
from helpers.tail import CONTROL, consumers, follower, lines, no_consumers, start_live_tail
from helpers.waiting import wait_until


@pytest.fixture
async def desk(settings):
    """Without a processor: nothing changes but by the test."""
    async with provisioned_store(settings) as store:
        yield OperatorCli(store, settings)


@pytest.fixture
def tail(spawn):
    return follower(spawn)


def connection(server, name: str) -> dict:
    with urllib.request.urlopen(f"{server.monitor_url}/connz?limit=10000") as answer:  # noqa: S310  # an http URL
        found = [each for each in json.load(answer)["connections"] if each.get("name") == name]
    return max(found, key=lambda each: each["cid"])


async def idle(server) -> None:
    """Until the newest client sends nothing while it hears three heartbeats of the server."""

    async def sends_nothing() -> bool:
        before = connection(server, "durablectl")
        await wait_until(lambda: connection(server, "durablectl")["out_msgs"] >= before["out_msgs"] + 3)
        after = connection(server, "durablectl")
        return (after["cid"], after["in_msgs"]) == (before["cid"], before["in_msgs"])

    await wait_until(sends_nothing)


async def test_an_idle_tail_sends_no_request(desk, tail, nats_server):
    process = await tail(desk, "-o", "name")
    await idle(nats_server)
    assert process.poll() is None


async def test_tail_reports_outage_and_loses_no_change(tmp_path, spawn):
    server = EmbeddedServer(tmp_path / "nats", sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=30)
    try:
        async with provisioned_store(settings) as store, open_store(settings) as writer:
            process = spawn("wf", "tail", "-o", "name", env={"NATS_URL": server.url, "DURABLECTL_NAMESPACE": ""})
            await wait_until(lambda: consumers(store))
            await start_live_tail(OperatorCli(writer, settings), "a")
            await lines(process, 1)
            await asyncio.to_thread(server.kill)
            await wait_until(lambda: "The connection to the NATS server was lost; reconnecting." in process.err())
            await asyncio.to_thread(server.start)
            await wait_until(lambda: writer.is_connected)
            # Most likely before the tail has its new consumer.
            await start_live_tail(OperatorCli(writer, settings), "b", "c")
            await wait_until(lambda: "Reconnected to the NATS server." in process.err())
            await start_live_tail(OperatorCli(writer, settings), "d")
            assert await lines(process, 4) == ["a", "b", "c", "d"]
            await asyncio.to_thread(server.kill)
            await wait_until(lambda: process.err().count("was lost") == 2)
            process.interrupt()
            assert await asyncio.to_thread(process.wait, 60) == 130
            assert all(line.startswith("Warning: ") for line in process.err().splitlines())
    finally:
        server.stop()


@pytest.mark.parametrize("idle", [True, False])
async def test_closed_pipe_ends_tail_quietly(desk, idle):
    environment = {**os.environ, "NATS_URL": desk.settings.url, "DURABLECTL_NAMESPACE": desk.settings.namespace}
    process = subprocess.Popen(
        [*PROGRAM, "wf", "tail", "-o", "name"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await wait_until(lambda: consumers(desk.store))
    await start_live_tail(desk, "a")
    assert await asyncio.to_thread(process.stdout.readline) == b"a\n"
    process.stdout.close()
    if not idle:
        await start_live_tail(desk, "b")
    assert await asyncio.to_thread(process.wait, 60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    await wait_until(lambda: no_consumers(desk.store))


async def test_on_a_terminal(desk, environment):
    def run(columns: int) -> pexpect.spawn:
        env = {**os.environ, **environment, "LC_ALL": "C.UTF-8"}
        command = [*PROGRAM[1:], "wf", "tail"]
        return pexpect.spawn(
            sys.executable, command, env=env, dimensions=(24, columns), encoding="utf-8", timeout=60, echo=False
        )

    for columns in (80, 30):
        child = run(columns)
        await asyncio.to_thread(child.expect_exact, "Following every change; Ctrl-C ends it.\r\n")
        name = f"aaaaa-bbbbb-ccccc-dddd{columns // 10}"
        await start_live_tail(desk, name)
        await asyncio.to_thread(child.expect_exact, "\n")
        await control.pause(desk.store, name, "the bank is closed until Monday, which is a long time to wait for it")
        await asyncio.to_thread(child.expect_exact, "\n")
        written = child.before
        child.sendintr()
        await asyncio.to_thread(child.expect, pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert "Traceback" not in child.before
        line = CONTROL.sub("", written).rstrip()
        assert len(line) <= columns
        assert "\x1b[33m‖" in written
        if columns == 80:
            assert re.match(rf"\d\d:\d\d:\d\d  ‖ paused     {name}  nobodys  the bank .*…", line)
        else:
            assert line == f"‖ {name}"


async def test_contradictory_tail_options_are_refused(desk):
    for args, message in (
        (("--from-revision", "3", "--since", "1h"), "--from-revision and --since both say where to begin."),
        (("--status", "faild"), "There is no status 'faild'."),
        (("--partition-key", ""), "The --partition-key is empty."),
        (("--since", "yesterday"), "'yesterday' is not a time"),
        (("--limit", "0"), "'--limit'"),
        (("--handler", "a.b"), "holds the character '.'"),
    ):
        result = await desk.cli("wf", "tail", *args)
        assert result.exit_code == 2, args
        assert message in result.stderr


def test_tail_on_empty_server_prints_one_sentence(runner):
    from durablectl.cli.main import app

    result = runner.invoke(app, ["wf", "tail"])
    assert result.exit_code == 3
    assert "This NATS server holds no workflows yet" in result.stderr
