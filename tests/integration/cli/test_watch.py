"""`wf watch`: JSON lines off a terminal, a live picture on one, and how both end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import replace

import pexpect
import pytest

from durablectl.cli.terminal.live_screen import TreeScreen
from durablectl.query import Tree
from gated_app import STAGES
from helpers import views
from helpers.gates import Gates
from helpers.sample_stack import PROGRAM, sample_stack
from helpers.views import NOW
from helpers.waiting import block_until

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def stack(nats_server, gates):
    with sample_stack(nats_server, gates) as running:
        yield running


@pytest.fixture
def terminal(stack):
    """Run a command on a pseudo-terminal of 80 columns."""
    children = []

    def run(*args: str, rows: int = 24, **extra: str) -> pexpect.spawn:
        env = {**os.environ, **stack.environment, "LC_ALL": "C.UTF-8", **extra}
        child = pexpect.spawn(
            sys.executable, [*PROGRAM[1:], *args], env=env, dimensions=(rows, 80), encoding="utf-8", timeout=60
        )
        children.append(child)
        return child

    yield run
    for child in children:
        child.close(force=True)


def screen(text: str) -> list[str]:
    """Lines as they were written, without what moves the cursor or colours."""
    return [line.rstrip() for line in CONTROL.sub("", text).replace("\r", "").split("\n")]


def scrollback(child: pexpect.spawn) -> str:
    """What stays when the screen of its own is left."""
    return child.before.rpartition("\x1b[?1049l")[2].replace("\x1b[?25h", "")


def test_off_a_terminal_every_change_is_a_json_line(stack, spawn, gates):
    stack.ok("wf", "start", "gated", "-i", '"slow"', "--id", "slow")
    watch = spawn("wf", "watch", "slow", env=stack.environment)
    for stage in STAGES:
        block_until(lambda stage=stage: f'"current_step_type":"{stage}"' in watch.out().replace(" ", ""))
        gates.open("slow", stage)
    assert watch.wait(60) == 0
    lines = [json.loads(line) for line in watch.out().splitlines()]
    assert {line["invocation_id"] for line in lines} == {"slow"}
    seen = [(line["status"], line["current_step"], line["current_step_type"]) for line in lines]
    steps = [state for state in dict.fromkeys(seen) if state[1] >= 0]
    assert steps == [("running", 0, "prepare"), ("running", 1, "process"), ("running", 2, "publish")]
    assert seen[-1] == ("completed", -1, "")
    assert [len(line["journal"]) for line in lines] == sorted(len(line["journal"]) for line in lines)
    assert {**lines[-1], "changes": None} == json.loads(stack.ok("wf", "get", "slow", "--json"))
    assert json.loads(stack.ok("wf", "watch", "slow", "--json")) == lines[-1]


def test_each_line_is_printed_immediately(stack, spawn):
    process = spawn("wf", "watch", "soon", env=stack.environment)
    assert process.wait(60) == 3
    stack.ok("wf", "start", "slow_workflow", "-i", '"it"', "--id", "soon", "--delay", "1h")
    process = spawn("wf", "watch", "soon", env=stack.environment)
    for status, operation in (("pending", "pause"), ("paused", "resume"), ("pending", None)):
        while f'"status":"{status}"' not in "".join(process.out().replace(" ", "").splitlines()[-1:]):
            assert process.poll() is None  # so the line comes while the pipe is open
        if operation:
            stack.ok("wf", operation, "soon")
    process.interrupt()
    assert process.wait(60) == 130


def test_exit_status(stack):
    stack.ok("wf", "start", "flaky_workflow", "-i", '"flaky"', "--id", "flaky")
    assert stack("wf", "watch", "flaky", "--exit-status").exit_code == 10
    assert stack("wf", "watch", "flaky").exit_code == 0
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", "fine", "--wait")
    assert stack("wf", "watch", "fine", "--exit-status").exit_code == 0


def test_on_a_terminal_the_steps_are_live_and_stay_in_the_scrollback(stack, terminal, gates):
    stack.ok("wf", "start", "gated", "-i", '"it"', "--id", "live")
    child = terminal("wf", "watch", "live")
    child.expect("running for")
    gates.open("it", "prepare")
    child.expect("1 step done")
    gates.open("it", "process")
    child.expect("2 steps done")
    gates.open("it", "publish")
    child.expect(pexpect.EOF)
    end = [re.sub(r" +[\d.]+m?s +", " TIME ", line) for line in screen(scrollback(child))]
    assert end[0] == "gated  live"
    assert end[1].split() == ["#", "STEP", "TIME", "REQUEST", "→", "RESULT"]
    assert end[2:5] == [
        '✓ 0  prepare TIME ["prepare", "it"] → "prepare it"',
        '✓ 1  process TIME ["process", "it"] → "process it"',
        '✓ 2  publish TIME ["publish", "it"] → "publish it"',
    ]
    assert re.fullmatch(r"✓ completed in [\d.]+ (ms|s|min), 3 steps", end[5])
    assert end[6:] == ['→ "it is published"', ""]
    child.close()
    assert child.exitstatus == 0


def test_retries_are_shown_with_their_error(stack, terminal):
    child = terminal("wf", "watch", "again", "--wait", "--exit-status")
    child.expect("waiting for it")
    stack.ok("wf", "start", "flaky_workflow", "-i", '"flaky"', "--id", "again")
    child.expect("attempt [12] failed, next in 1 s")
    child.expect("'flaky' was dropped on the way")
    child.expect(pexpect.EOF)
    assert re.search(r"✗ failed after [\d.]+ s", CONTROL.sub("", child.before))
    child.close()
    assert child.exitstatus == 10


def test_ctrl_c_leaves_the_picture_and_the_cursor(stack, terminal):
    stack.ok("wf", "start", "nobody", "--id", "unheard")
    child = terminal("wf", "watch", "unheard")
    child.expect("no live processor has registered handler nobody")
    child.sendintr()
    child.expect(pexpect.EOF)
    assert "\x1b[?25h" in child.before
    assert "… waiting: no live processor has registered handler nobody" in screen(child.before)
    assert "Traceback" not in child.before
    child.close()
    assert child.exitstatus == 130


def test_signs_fall_back_to_ascii(stack, terminal):
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", "plain", "--wait")
    child = terminal("wf", "get", "plain", PYTHONIOENCODING="ascii", NO_COLOR="1")
    child.expect(pexpect.EOF)
    assert "+ completed in " in child.before
    assert '{"name": "x"} > {"message": "Hello, x!"}' in child.before
    assert "\x1b" not in child.before
    assert child.before.isascii()


def test_a_list_on_a_terminal(stack, terminal):
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", "listed", "--wait")
    child = terminal("wf", "list", "--limit", "1")
    child.expect(pexpect.EOF)
    header, row, note, command, *_ = screen(child.before)
    assert header.split() == ["ID", "HANDLER", "STATUS", "AGE", "TIME", "DETAIL"]
    assert re.fullmatch(r'✓ listed  hello_workflow  completed   *\d+s +\S+  → "Hello, x!"', row)
    assert re.fullmatch(r"Showing 1 of \d+\.", note)
    assert command.startswith("Next page: durablectl wf list --limit 1 --cursor ")
    assert "\x1b[32m" in child.before


def test_watching_unknown_workflow_is_an_error(terminal):
    child = terminal("wf", "watch", "nope")
    child.expect(pexpect.EOF)
    assert screen(child.before)[0] == "Error: There is no workflow nope."
    child.close()
    assert child.exitstatus == 3


async def test_the_error_before_is_kept_for_its_step_only():
    picture = TreeScreen()
    picture.take(Tree(views.RETRYING, {}))
    assert "next in" in picture.frame(NOW, 80, 24).plain
    picture.take(Tree(views.RUNNING, {}))
    assert "attempt 8" in picture.frame(NOW, 80, 24).plain
    assert "no service answers" in picture.frame(NOW, 80, 24).plain
    picture.take(Tree(replace(views.RUNNING, current_step=3, journal=views.STEPS), {}))
    assert "no service answers" not in picture.frame(NOW, 80, 24).plain


async def test_a_change_wakes_the_picture():
    picture = TreeScreen()
    never = asyncio.create_task(asyncio.sleep(60))
    waiting = asyncio.create_task(picture.wait(never))
    await asyncio.sleep(0)
    picture.take(Tree(views.PENDING, {}))
    await asyncio.wait_for(waiting, 60)
    never.cancel()
