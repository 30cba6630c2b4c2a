"""`durablectl demo` as a newcomer meets it: on a terminal, in a pipe, as JSON, interrupted, and when it cannot work."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time

import pexpect
import pytest
from rich.console import Console
from typer.testing import CliRunner

from durablectl import embedded
from durablectl.cli.commands import demo
from durablectl.cli.main import app
from durablectl.cli.render.demo import change_line, demo_screen, workflow_board
from durablectl.cli.render.local_stack import LocalStackView
from durablectl.model.status import Status
from durablectl.query import WaitingView
from helpers.process_list import processes_naming, wait_until_no_process_names
from helpers.views import NOW, S, workflow

IDS = ["cart", "report", "hello", "user-1", "order", "team", "video", "grace", "retry", "user-2"]
TRY = ["durablectl dev", """durablectl wf start async_workflow --input '"user-001"' --wait""", "durablectl wf list"]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary directories are made; must be empty again after the demo, and no process may know it."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def nothing_is_left(scratch):
    wait_until_no_process_names(scratch)
    return not list(scratch.iterdir())


@pytest.mark.smoke
def test_in_a_pipe_every_change_is_a_line(cli, scratch):
    done = cli("demo")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    changes, stats = (part.splitlines() for part in done.stdout.split("\n\n"))
    rows = [line.split("\t") for line in changes]
    assert {len(row) for row in rows} == {4}
    assert list(dict.fromkeys(row[0] for row in rows)) == IDS
    assert {row[0]: row[2] for row in rows} == {**dict.fromkeys(IDS, "completed"), "order": "failed"}
    assert [row[3] for row in rows if row[:3] == ["report", "slow_workflow", "running"]][-3:] == [
        "prepare",
        "process",
        "publish",
    ]
    assert ["hello", "hello_workflow", "completed", '→ "Hello, Ada!"'] in rows
    assert any(row[0] == "order" and "attempt 2" in row[3] for row in rows)
    assert {"status\tcompleted\t9", "status\tfailed\t1", "handler\tslow_workflow\t2", "total\t\t10"} <= set(stats)
    assert re.search(r"nats-server: 2\.\d+\.\d+ at nats://127\.0\.0\.1:\d+", done.stderr)
    assert all(f"  {command}\n" in done.stderr for command in TRY)
    assert nothing_is_left(scratch)


@pytest.mark.timing
@pytest.mark.usefixtures("scratch")
def test_demo_ends_within_15_seconds(cli):
    began = time.monotonic()
    assert cli("demo").returncode == 0
    assert time.monotonic() - began < 15


def test_as_json(cli, scratch):
    done = cli("demo", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["total"] == len(result["workflows"]) == result["stats"]["total"] == 10
    assert result["stats"]["by_status"] == {"completed": 9, "failed": 1}
    assert {workflow["invocation_id"] for workflow in result["workflows"]} == {*IDS}
    ends = [workflow["finished_at"] for workflow in result["workflows"]]
    assert ends == sorted(ends, reverse=True)
    by_id = {workflow["invocation_id"]: workflow for workflow in result["workflows"]}
    assert by_id["hello"]["output"] == "Hello, Ada!"
    assert by_id["cart"]["workflow_state"] == {"cart": ["A-7:ada"]}
    assert by_id["order"]["error_type"] == "StepError"
    assert nothing_is_left(scratch)


def test_terminal_shows_live_table_and_keeps_the_last(scratch):
    child = pexpect.spawn(
        sys.executable,
        ["-m", "durablectl", "demo"],
        dimensions=(30, 80),
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    child.expect(r"report [^\n]*running")
    child.expect(r"[1-9] of 10 ended")
    child.expect(r"10 of 10 ended")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[?25h" in child.before, "the cursor is shown again"
    end = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before).replace("\r", "").rpartition("durablectl demo  ")[2]
    assert "\n10 workflows: 9 completed, 1 failed.\n" in end
    assert all(f"\n  {command}\n" in end for command in TRY)
    assert max(len(line) for line in end.splitlines()) <= 80
    assert nothing_is_left(scratch)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(spawn, scratch, number, code):
    process = spawn("demo")
    process.wait_for_output("running")
    assert processes_naming(scratch), "the server runs"
    process.send_signal(number)
    assert process.wait(60) == code
    assert "Traceback" not in process.err()
    assert "Error" not in process.err()
    assert nothing_is_left(scratch)


def test_killed(spawn, scratch):
    process = spawn("demo")
    process.wait_for_output("running")
    process.kill()
    wait_until_no_process_names(scratch)


def test_a_reader_that_leaves_early(spawn, scratch):
    process = spawn(command=["sh", "-c", f"{sys.executable} -m durablectl demo | head -n 2"])
    assert process.wait(60) == 0
    assert len(process.out().splitlines()) == 2
    assert "Error" not in process.err()
    wait_until_no_process_names(scratch)


def test_without_a_server_that_works(monkeypatch, tmp_path, scratch):
    broken = tmp_path / "nats-server"
    broken.write_text("#!/bin/sh\necho out of order\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "find_server", lambda: broken)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The nats-server ended while starting: out of order\n")
    assert nothing_is_left(scratch)


def test_workflows_that_do_not_end_in_time(monkeypatch, scratch):
    monkeypatch.setattr(demo, "_LIMIT_SECONDS", 1)
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    message = json.loads(result.stderr)["error"]["message"]
    assert re.fullmatch(r"After 1 s these workflows had not ended: (.+, )?report, .*user-2\.", message)
    assert nothing_is_left(scratch)


def test_demo_fails_when_a_workflow_ends_unexpectedly(monkeypatch, scratch):
    sample = demo._Sample("late", "flaky_workflow", "flaky", "")
    monkeypatch.setattr(demo, "_SAMPLES", [sample])
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "Error: The workflow late should be completed, but is failed: "
        "Step 0 'attempt' failed after 3 attempts: 'flaky' was dropped on the way.\n"
    )
    assert nothing_is_left(scratch)


def view(invocation_id, handler, status, **changes):
    return workflow(status, invocation_id=invocation_id, handler=handler, journal=None, **changes)


COMPLETED = view("hello", "hello_workflow", Status.COMPLETED, total_steps=1, output="Hello, Ada!", finished_at=NOW)
RUNNING = view("report", "slow_workflow", Status.RUNNING, current_step=1, current_step_type="process", total_steps=2)
RETRYING = view(
    "order",
    "flaky_workflow",
    Status.RUNNING,
    current_step=0,
    current_step_type="attempt",
    waiting_for=WaitingView("retry", "attempt", 0, NOW + S, 2, "it was\ndropped"),
)
STACK = LocalStackView(
    nats_url="nats://127.0.0.1:4321",
    server_version="2.15.1",
    namespace="",
    app=("durablectl.demo",),
    app_source="sample",
    workflows=("hello_workflow", "slow_workflow"),
    services=("HelloService", "TicketService"),
    processor_id="host-1-abc",
    slots=100,
)
SCREEN = """\
durablectl demo  durable workflows on NATS JetStream

✓  nats-server  2.15.1 at nats://127.0.0.1:4321, in a temporary directory
✓  services     HelloService, TicketService
✓  processor    takes 2 kinds of workflows, up to 100 at once

{board}

━━━━━━━━━━━━━                             1 of 3 ended  1.5 s
report  three steps of a second"""


def test_the_screen():
    workflows = [COMPLETED, RUNNING, RETRYING]
    caption = ("report", "three steps of a second")
    console = Console(width=80, file=io.StringIO())
    console.print(demo_screen(STACK, workflows, 3, caption, now=NOW, elapsed=1.5, width=80))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert "\n".join(lines) == SCREEN.format(board=workflow_board(workflows, NOW, 80).plain)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (COMPLETED, 'hello\thello_workflow\tcompleted\t→ "Hello, Ada!"'),
        (RUNNING, "report\tslow_workflow\trunning\tprocess"),
        (RETRYING, "order\tflaky_workflow\trunning\tit was\\ndropped (attempt, attempt 2 failed, next in 1 s)"),
        (view("x", "hello_workflow", Status.PENDING), "x\thello_workflow\tpending\t"),
    ],
)
def test_a_change_is_one_line(changed, line):
    assert change_line(changed, NOW) == line
