"""`wf timeline` on real workflows and a real terminal."""

from __future__ import annotations

import json
import os
import re
import sys

import pexpect
import pytest

from helpers.sample_stack import PROGRAM, sample_stack

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def stack(nats_server):
    with sample_stack(nats_server) as running:
        # What follows finds the service up.
        running.ok("wf", "start", "hello_workflow", "-i", '"x"', "--wait")
        yield running


def test_a_range_of_steps_and_its_exit_codes(stack):
    stack.ok("wf", "start", "slow_workflow", "-i", '"it"', "--id", "parts", "--wait")
    lines = stack.ok("wf", "timeline", "parts", "--steps", "1:").splitlines()
    assert [line.split("\t")[:3] for line in lines[1:]] == [["1", "process", "step"], ["2", "publish", "step"]]
    answer = json.loads(stack.ok("wf", "timeline", "parts", "--json"))
    assert [row["step_type"] for row in answer["rows"]] == ["prepare", "process", "publish"]
    assert all(row["milliseconds"] > 900 for row in answer["rows"])
    assert stack("wf", "timeline", "nope").exit_code == 3
    assert stack("wf", "timeline", "parts", "--steps", "x").exit_code == 2


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_on_a_real_terminal(stack, columns, encoding):
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", f"real-{columns}-{encoding}", "--wait")
    env = {**os.environ, **stack.environment, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": encoding}
    child = pexpect.spawn(
        sys.executable, [*PROGRAM[1:], "wf", "timeline", f"real-{columns}-{encoding}"], env=env,
        dimensions=(24, columns), encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    lines = CONTROL.sub("", child.before).replace("\r", "").splitlines()
    bar = "#" if encoding == "ascii" else "█"
    assert re.search(rf"HelloService\.SayHello +{bar}+ ", lines[2])
    assert all(len(line) <= columns for line in lines)
    assert encoding == "utf-8" or child.before.isascii()
