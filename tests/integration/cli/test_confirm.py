"""The question before a change to many, its answers, and Ctrl-C, on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from durablectl import query
from durablectl.storage.connection.store import open_store
from helpers.in_process import provisioned_store
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = r"Cancel these 12 workflows\? \[y/N\] "


@pytest.fixture
def ids(settings) -> list[str]:
    async def begin() -> list[str]:
        async with provisioned_store(settings) as store:
            return [await start_workflow(store, "nobodys", id=f"p{number:02d}") for number in range(12)]

    return asyncio.run(begin())


@pytest.fixture
def statuses(settings) -> Callable[[], dict[str, int]]:
    async def count() -> dict[str, int]:
        async with open_store(settings) as store:
            return dict((await query.get_stats(store)).by_status)

    return lambda: asyncio.run(count())


@pytest.fixture
def terminal(environment):
    opened = []

    def run(*args: str) -> pexpect.spawn:
        child = pexpect.spawn(
            sys.executable,
            ["-m", "durablectl", *args],
            env={**os.environ, **environment, "NO_COLOR": "1"},
            dimensions=(40, 80),
            encoding="utf-8",
            timeout=60,
        )
        opened.append(child)
        return child

    yield run
    for child in opened:
        child.close(force=True)


def ended(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


@pytest.mark.usefixtures("ids")
def test_job_without_processor_is_noted_once(terminal):
    child = terminal("wf", "pause", "--handler", "nobodys", "--background")
    child.expect(r"Pause these 12 workflows as a background job \(--foreground does it from here\)\? \[y/N\] ")
    asked = child.before
    child.sendline("y")
    assert ended(child) == 0
    assert " ".join((asked + child.before).split()).count("No live processor carries out jobs") == 1


def test_question_shows_the_selected_workflows(terminal, ids, statuses):
    child = terminal("wf", "cancel", "--handler", "nobodys", "--status", "pending")
    child.expect(QUESTION)
    shown = child.before.replace("\r\n", "\n").splitlines()
    assert shown[0].split() == ["ID", "HANDLER", "STATUS", "AGE"]
    assert [line.split()[1] for line in shown[1:-1]] == ids[:10]
    assert shown[-1] == "  and 2 more"
    assert statuses() == {"pending": 12}
    child.sendline("yes")
    child.expect("12 workflows: 12 changed.")
    assert re.findall(r"✓ (\S+)\s+Cancelled\.", child.before) == ids
    assert ended(child) == 0
    assert statuses() == {"cancelled": 12}


@pytest.mark.parametrize(("key", "code"), [("\n", 1), ("n\n", 1), ("\x04", 1), ("\x03", 130)])
def test_everything_but_yes_changes_nothing(terminal, ids, statuses, key, code):
    child = terminal("wf", "cancel", "--handler", "nobodys")
    child.expect(QUESTION)
    child.send(key)
    if code == 1:
        child.expect("Nothing was changed.")
    assert ended(child) == code
    assert statuses() == {"pending": len(ids)}


def test_one_is_asked_about_in_the_singular(terminal, settings):
    async def begin() -> None:
        async with provisioned_store(settings) as store:
            await start_workflow(store, "nobodys", id="only")

    asyncio.run(begin())
    child = terminal("wf", "pause", "--handler", "nobodys")
    child.expect(r"Pause it\? \[y/N\] ")
    child.sendline("y")
    child.expect("1 workflow: 1 changed.")
    assert ended(child) == 0


def test_ids_are_not_asked_about(terminal, ids):
    child = terminal("wf", "cancel", *ids[:2], "nope")
    child.expect("✓ p00   Cancelled.")
    child.expect("✗ nope  There is no workflow nope.")
    child.expect("3 workflows: 2 changed, 1 failed.")
    assert ended(child) == 6


def test_an_interruption_leaves_an_account(spawn, ids, statuses):
    process = spawn("wf", "cancel", "--status", "pending", "--yes", "--rate", "1")
    asyncio.run(wait_until(lambda: process.out().count("\n") >= 2))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    done = process.out().count("\tok\tCancelled.")
    assert 2 <= done < len(ids)
    assert process.err().splitlines()[0] == f"12 workflows: {done} changed, {12 - done} not tried."
    assert statuses() == {"cancelled": done, "pending": 12 - done}


def test_a_closed_pipe_ends_quietly(spawn, ids, statuses):
    process = spawn(
        "wf", "cancel", "--status", "pending", "--yes", "--rate", "1",
        command=["bash", "-c", f'{sys.executable} -m durablectl "$@" | head -1; exit "${{PIPESTATUS[0]}}"', "-"],
    )  # fmt: skip
    assert process.wait(60) == 141
    assert process.out() == "p00\tok\tCancelled.\n"
    assert "Traceback" not in process.err()
    time.sleep(0.1)
    left = statuses()
    assert left["cancelled"] + left["pending"] == len(ids)
    assert left["pending"] > 0
