"""Long output on a terminal goes through the user's pager, and only there."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pexpect
import pytest
from typer.testing import CliRunner

from durablectl.cli.main import app
from helpers.in_process import provisioned_store
from helpers.sample_stack import PROGRAM
from helpers.workflow_runs import start_workflow

COUNT = 60
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")
LIST = ("wf", "list", "--limit", str(COUNT))


@pytest.fixture
def ids(settings) -> list[str]:
    async def begin() -> list[str]:
        async with provisioned_store(settings) as store:
            return [await start_workflow(store, "nobodys", id=f"p{number:02d}") for number in range(COUNT)]

    return asyncio.run(begin())


@pytest.fixture
def terminal(environment, tmp_path):
    opened = []

    def run(*args: str, rows: int = 24, **extra: str) -> pexpect.spawn:
        env = {**os.environ, **environment, "LC_ALL": "C.UTF-8", **extra}
        child = pexpect.spawn(
            sys.executable,
            [*PROGRAM[1:], *args],
            env=env,
            cwd=tmp_path,
            dimensions=(rows, 80),
            encoding="utf-8",
            timeout=60,
        )
        opened.append(child)
        return child

    yield run
    for child in opened:
        child.close(force=True)


@pytest.fixture
def pager(tmp_path):
    """A program that tells what it is given and then waits for a line."""
    program = tmp_path / "pager"
    program.write_text('#!/bin/sh\necho "pages $(grep -c ^)"\nread answer </dev/tty\necho "left $*"\n')
    program.chmod(0o755)
    return str(program)


def ended(child: pexpect.spawn) -> tuple[str, int]:
    child.expect(pexpect.EOF)
    child.close()
    return CONTROL.sub("", child.before), child.exitstatus


def test_output_taller_than_the_screen_is_paged(terminal, ids, pager):
    child = terminal(*LIST, DURABLECTL_PAGER=f"{pager} --twice 'a b'", PAGER="nonsense")
    child.expect_exact(f"pages {COUNT + 1}")
    child.sendline()
    text, code = ended(child)
    assert "left --twice a b" in text
    assert (ids[0] in text, code) == (False, 0)


@pytest.mark.usefixtures("ids")
def test_default_pager_is_less_and_notes_follow_it(terminal):
    child = terminal("wf", "list", "--limit", str(COUNT - 10))
    child.expect(f"p{COUNT - 1}")
    child.expect_exact("\n:")
    child.sendintr()  # less does not end of it
    child.expect_exact(":")
    child.send("q")
    text, code = ended(child)
    assert f"Showing {COUNT - 10} of {COUNT}." in text
    assert "Next page: durablectl wf list" in text
    assert ("Traceback" in text, code) == (False, 0)


@pytest.mark.parametrize(
    ("args", "extra"),
    [
        (["--no-pager"], {}),
        ([], {"DURABLECTL_PAGER": ""}),
        ([], {"DURABLECTL_PAGER": "cat"}),
        ([], {"DURABLECTL_PAGER": "", "PAGER": "less"}),
        ([], {"PAGER": ""}),
        ([], {"DURABLECTL_PAGER": "no-such-program --at-all"}),
        ([], {"DURABLECTL_PAGER": "'"}),
        ([], {"TERM": "dumb", "PAGER": "no-such-program"}),
        (["--json"], {"PAGER": "true"}),
        (["-o", "jsonl"], {"PAGER": "true"}),
    ],
)
def test_without_a_pager_all_is_printed(terminal, ids, args, extra):
    text, code = ended(terminal(*LIST, *args, **extra))
    assert code == 0
    assert all(each in text for each in ids)


@pytest.mark.usefixtures("ids")
def test_a_pager_that_reads_nothing_is_no_error(terminal):
    text, code = ended(terminal(*LIST, PAGER="true"))
    assert ("rror" in text, code) == (False, 0)


@pytest.mark.usefixtures("ids")
def test_a_pager_that_dies_of_ctrl_c_ends_quietly(terminal):
    child = terminal(*LIST, DURABLECTL_PAGER="sh -c 'echo here; exec sleep 30'")
    child.expect_exact("here")
    child.sendintr()
    text, code = ended(child)
    assert ("rror" in text, "Traceback" in text, code) == (False, False, 0)


def test_output_that_fits_the_screen_is_not_paged(terminal, ids, pager):
    text, code = ended(terminal(*LIST, rows=COUNT + 3, PAGER=pager))
    assert ("pages" in text, ids[0] in text, code) == (False, True, 0)


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("command", [("get",), ("why",), ("timeline",), ("diff", "p01")])
def test_the_other_long_views_are_paged(terminal, pager, command):
    child = terminal("wf", command[0], "p00", *command[1:], rows=2, PAGER=pager)
    child.expect(r"pages \d+")
    child.sendline()
    assert ended(child)[1] == 0


def test_a_topic_of_the_help_is_paged(terminal, pager):
    child = terminal("help", "filters", PAGER=pager)
    child.expect(r"pages \d+")
    child.sendline()
    assert ended(child)[1] == 0
    assert "--parent ID" in ended(terminal("help", "filters", "--no-pager", PAGER=pager))[0]


@pytest.mark.usefixtures("ids")
def test_no_pager_without_a_terminal(environment):
    result = CliRunner(env={**environment, "PAGER": "true"}).invoke(app, LIST)
    assert len(result.stdout.splitlines()) == COUNT + 1
