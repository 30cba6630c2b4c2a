"""`--time` and `--tz` of commands on a server."""

from __future__ import annotations

import json
import re

import pytest

from helpers.sample_stack import SampleStack


@pytest.fixture
def stack(environment):
    stack = SampleStack(environment)
    stack.ok("wf", "start", "nobodys", "--id", "alone")
    return stack


def test_list_and_get_show_times_as_asked_but_json_always_the_same(stack):
    assert re.fullmatch(r"CREATED\n\d{10}\.\d{3}\n", stack.ok("wf", "list", "--columns", "created", "--time", "unix"))
    assert "Z\n" in stack.ok("wf", "list", "--columns", "created")
    assert stack.ok("wf", "list", "--columns", "created", "--tz", "Asia/Kolkata").endswith("+05:30\n")
    assert re.search(r"^Created\t.*\+05:30$", stack.ok("wf", "get", "alone", "--tz", "Asia/Kolkata"), re.MULTILINE)
    for command in (["list"], ["get", "alone"]):
        plain, asked = (stack.ok("wf", *command, "--json", *more) for more in ([], ["--time", "unix"]))
        assert json.loads(plain) == json.loads(asked)


@pytest.mark.parametrize("command", [["wf", "list"], ["wf", "get", "alone"], ["processors"], ["schedule", "list"]])
def test_a_bad_time_zone_is_a_usage_error(stack, command):
    result = stack(*command, "--tz", "Mars/Olympus")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: There is no time zone 'Mars/Olympus'.")
