"""`wf list` and the filters of the bulk commands: what they choose, pages, mistakes, and what a terminal shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from datetime import datetime

import pexpect
import pytest

from durablectl.cli.render.list import rest_note
from durablectl.model.user_input import parse_past_time
from helpers.listed_namespace import BULK, TOTAL, filled_namespace, stack_of
from helpers.sample_stack import PROGRAM
from helpers.views import NOW, S

MINUTE = 60 * S
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def filled(nats_server):
    return filled_namespace(nats_server)


@pytest.fixture
def stack(filled):
    return stack_of(filled)


def names(stack, *args: str) -> list[str]:
    return stack.ok("wf", "list", *args, "-o", "name").split()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--status", "failed"], ["f1", "f2", "f3", "f4", "f5", "f6"]),
        (["--status", "failed", "--oldest-first"], ["f6", "f5", "f4", "f3", "f2", "f1"]),
        (["--status", "active"], ["waiting", "long"]),
        (["--status", "failed", "--status", "suspended", "--since", "35h"], ["f1", "f2", "f3"]),
        (["--handler", "pay", "--handler", "ask", "--until", "55h"], ["f6", "parent", "waiting"]),
        (["--since", "46h", "--until", "29h"], ["f3", "c2", "f4", "c3"]),
        (["--partition-key", "p1"], ["c1", "c3"]),
        (["--partition-key", "p1", "--status", "failed"], []),
        (["--created-since", "85h"], ["fresh", "f1", "c1", "f2"]),
        (["--created-since", "85h", "--created-until", "74h"], ["c1", "f2"]),
        (["--error", "asleep"], ["f2", "f4", "f6"]),
        (["--error", "asleep", "--status", "completed"], []),
        (["--parent", "parent"], ["c2"]),
        (["--parent", "f1"], []),
        (["--scan", "--since", "16h"], ["fresh", "f1", "c1"]),
    ],
)
def test_filters_choose_in_list_count_and_stats(stack, filters, expected):
    assert names(stack, *filters) == expected
    page = json.loads(stack.ok("wf", "list", *filters, "--json"))
    assert [each["invocation_id"] for each in page["workflows"]] == expected
    assert (page["total"], page["next_cursor"]) == (len(expected), None)
    counting = [word for word in filters if word != "--oldest-first"]
    assert stack.ok("wf", "list", *counting, "--count") == f"{len(expected)}\n"
    assert json.loads(stack.ok("wf", "list", *counting, "--count", "--json")) == {"total": len(expected)}
    only_counts = [word for word in counting if word != "--scan"]
    assert json.loads(stack.ok("wf", "stats", *only_counts, "--json"))["total"] == len(expected)


@pytest.mark.parametrize("order", [[], ["--oldest-first"]])
@pytest.mark.parametrize("filters", [["--status", "failed"], ["--error", "card"], ["--scan", "--handler", "pay"]])
def test_pages_follow_one_another(stack, filters, order):
    whole, found, cursor = names(stack, *filters, *order), [], []
    while True:
        page = json.loads(stack.ok("wf", "list", *filters, *order, "--limit", "2", "--json", *cursor))
        assert page["total"] == len(whole)
        found += [each["invocation_id"] for each in page["workflows"]]
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert found == whole


@pytest.mark.parametrize("how", [[], ["--scan"]])
def test_a_limit_of_more_than_a_thousand_is_kept(stack, how):
    assert names(stack, "--handler", "bulk", "--limit", "1100", *how) == [f"b{n:04}" for n in range(1100)]
    lines = stack.ok("wf", "list", "--handler", "bulk", "--limit", "5000", *how).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["ID", *(f"b{n:04}" for n in range(BULK))]
    page = json.loads(stack.ok("wf", "list", "--handler", "bulk", "--limit", "1100", "--json", *how))
    assert (len(page["workflows"]), page["total"]) == (1100, BULK)
    rest = names(stack, "--handler", "bulk", "--cursor", page["next_cursor"], *how)
    assert rest == [f"b{n:04}" for n in range(1100, BULK)]
    lines = stack.ok("wf", "list", "--handler", "bulk", "--limit", "1100", "-o", "jsonl", *how).splitlines()
    assert len({json.loads(line)["invocation_id"] for line in lines}) == 1100


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--limit", "2"], f"Showing 2 of {TOTAL:,}.\n"),
        (["--limit", "2", "-o", "name"], f"Showing 2 of {TOTAL:,}.\n"),
        (["--limit", "2", "-o", "jsonl"], f'{{"note": {{"message": "Showing 2 of {TOTAL:,}."}}}}\n'),
        (["--status", "failed"], ""),
        (["--status", "failed", "-o", "name"], ""),
        (["--status", "paused"], "No workflows.\n"),
        (["--status", "paused", "-o", "name"], ""),
        (["--status", "failed", "--error", "zzz", "-o", "jsonl"], ""),
    ],
)
def test_stderr_counts_the_workflows_not_shown(stack, args, told):
    assert stack("wf", "list", *args).stderr == told


def test_note_counts_shown_and_total():
    assert rest_note(50, 1234, more=True) == "Showing 50 of 1,234."
    assert rest_note(34, 1234, more=False) == "Showing the last 34 of 1,234."
    assert rest_note(34, 34, more=False) == ""


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["list", "--since", "2026"], 2, "Error: The --since cannot be used: '2026' is not a time.\nWrite it like 2h"),
        (["list", "--since", "1h", "--until", "2h"], 2, "Error: The --since is not before the --until."),
        (["list", "--created-until", "0m"], 2, "Error: The --created-until cannot be used: it must be longer"),
        (["list", "--since", "30000d"], 2, "does not lie between 1970 and 9999."),
        (["list", "--partition-key", ""], 2, "Error: The --partition-key is empty."),
        (["cancel", "--handler", "pay", "--error", "", "--yes"], 2, "Error: The --error is empty."),
        (["list", "--handler", "a.b"], 2, "The handler 'a.b' holds the character '.'"),
        (["list", "--status", "ended"], 2, "There is no status 'ended'."),
        (["list", "--cursor", "abc"], 2, "The cursor 'abc' is none of ours."),
        (["list", "--limit", "0"], 2, "The limit 0 is out of range.\nIt is 1 or more."),
        (["list", "--count", "--limit", "3"], 2, "--count is about all that match"),
        (["list", "--parent", "nope"], 3, "There is no workflow nope."),
        (["list", "--count", "--namespace", "nowhere"], 3, "This NATS server holds no workflows yet"),
        (["get", "long", "--steps", "1:2:3"], 2, "'1:2:3' is not a range of steps."),
        (["get", "long", "--steps", ""], 2, "'' is not a range of steps."),
        (["pause", "long", "--since", "2h"], 2, "Ids and filters were given"),
    ],
)
def test_mistakes_are_named(stack, args, code, message):
    result = stack("wf", *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_a_cursor_belongs_to_its_order(stack):
    page = json.loads(stack.ok("wf", "list", "--limit", "1", "--json"))
    result = stack("wf", "list", "--oldest-first", "--cursor", page["next_cursor"])
    assert (result.exit_code, "in the other order" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - 120 * MINUTE),
        ("1d12h", NOW - 36 * 60 * MINUTE),
        (" 90s ", NOW - 90 * S),
        ("2026-11-22T09:00:00Z", 1_795_338_000 * S),
        ("2026-11-22T10:00:00.5+01:00", 1_795_338_000 * S + 500_000),
        ("2026-11-22", int(datetime(2026, 11, 22).astimezone().timestamp()) * S),  # in local time
        ("20261122", int(datetime(2026, 11, 22).astimezone().timestamp()) * S),  # in local time
    ],
)
def test_since_and_until_accept_common_time_formats(text, expected):
    assert parse_past_time(text, "--since", NOW) == expected


BULK_FILTERS = [
    (["--error", "asleep"], ["f6", "f4", "f2"]),
    (["--handler", "pay", "--since", "35h"], ["f3", "f2", "f1"]),
    (["--created-since", "75h"], ["f1"]),
    (["--parent", "parent", "--status", "completed"], ["c2"]),
    (["--until", "45h", "--until", "55h"], ["f6"]),
]


@pytest.mark.parametrize(("filters", "expected"), BULK_FILTERS)
def test_a_bulk_change_chooses_by_the_same_filters(stack, filters, expected):
    result = stack("wf", "retry", *filters, "--dry-run", "-o", "name")
    assert (result.exit_code, result.stdout.split()) == (0, expected)
    assert result.stderr.startswith(f"Would retry {len(expected)} workflow")


def test_a_bulk_change_may_be_about_more_than_a_page(stack):
    result = stack("wf", "delete", "--handler", "bulk", "--dry-run", "-o", "name")
    assert result.stdout.split() == [f"b{n:04}" for n in reversed(range(BULK))]


@pytest.fixture
def terminal(filled):
    children = []

    def run(*args: str, **extra: str) -> list[str]:
        """The lines on a pseudo-terminal that is too wide to wrap them."""
        env = {**os.environ, "NATS_URL": filled.url, "DURABLECTL_NAMESPACE": filled.namespace, "LC_ALL": "C.UTF-8"}
        child = pexpect.spawn(
            sys.executable,
            [*PROGRAM[1:], *args],
            env={**env, **extra},
            dimensions=(50, 200),
            encoding="utf-8",
            timeout=60,
        )
        children.append(child)
        child.expect(pexpect.EOF)
        return [line.rstrip() for line in CONTROL.sub("", child.before).replace("\r", "").split("\n")]

    yield run
    for child in children:
        child.close(force=True)


def test_a_terminal_shows_the_command_for_the_next_page(terminal, filled, stack):
    secret = ["-s", filled.url, "--user", "nobody", "--password", "s3cr3t"]
    first = terminal("wf", "list", "--handler", "pay", "--error", "card 1", "--error", "card", "--limit", "2", *secret)
    assert [line.split()[1] for line in first[1:3]] == ["f1", "f3"]
    assert first[3] == "Showing 2 of 3."
    told, _, command = first[4].partition(": ")
    assert told == "Next page"
    words = shlex.split(command)
    assert words[:3] == ["durablectl", "wf", "list"]
    assert ("s3cr3t" in command, "nobody" in command, filled.url in command) == (False, False, True)
    second = terminal(*words[1:])
    assert [line.split()[1] for line in second[1:2]] == ["f5"]
    assert second[2:] == ["Showing the last 1 of 3.", "6 workflows read.", ""]
    assert words[-2] == "--cursor"
    assert names(stack, *words[3:]) == ["f5"]


def test_a_terminal_shows_how_much_was_read(terminal):
    lines = terminal("wf", "list", "--scan", "--status", "paused")
    assert lines[0].endswith("No workflows.")
    assert "1,000 workflows read" in lines[0]
