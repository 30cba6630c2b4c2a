"""`wf list --columns`: which columns there are, and mistakes."""

from __future__ import annotations

import json

import pytest

from durablectl.cli.commands.list import _complete_columns, _read_columns
from durablectl.cli.render.formatting import ISO, RELATIVE
from durablectl.cli.render.list import COLUMNS, ListStyle, workflow_lines, workflow_table
from durablectl.cli.terminal.output import OutputFormat
from helpers import views
from helpers.sample_stack import SampleStack
from helpers.views import ALL, NOW


def test_names_are_those_of_the_table_and_of_the_json():
    fields = views.RUNNING.to_json()
    named = {column.json_field or name for name, column in COLUMNS.items()}
    assert named - fields.keys() == {"progress", "time"}
    assert _read_columns("id, STATUS,created_at,age,id", OutputFormat.TABLE) == ["id", "status", "created"]
    assert _read_columns("current_step,parent_id", OutputFormat.WIDE) == ["step", "parent"]
    assert _read_columns(None, OutputFormat.JSON) == ()


def test_every_column_can_be_shown_in_both_forms():
    some = [*ALL.values()]
    assert workflow_lines(some, NOW, ListStyle(ISO, [*COLUMNS])).splitlines()[0] == "\t".join(COLUMNS).upper()
    titles = workflow_table(some, NOW, 80, ListStyle(ISO, [*COLUMNS])).plain.splitlines()[0].split()
    assert titles == [name.upper() for name in COLUMNS]
    assert "AGE" in workflow_table(some, NOW, 80, ListStyle(RELATIVE, ["created"])).plain.splitlines()[0]


def test_requested_columns_are_cut_but_kept_and_ids_stay_whole():
    some = [views.replace(views.COMPLETED, invocation_id="i" * 50, input="x" * 100)]
    lines = workflow_table(some, NOW, 80, ListStyle(RELATIVE, ["input", "id", "output", "time"])).plain.splitlines()
    assert lines[0].split() == ["INPUT", "ID", "OUTPUT", "TIME"]
    assert f"  {'i' * 50}  " in lines[1]
    assert [lines[1].split()[1][-1], lines[1].split()[-1]] == ["…", "3.4s"]
    assert len(workflow_table(some, NOW, 80, ListStyle(RELATIVE, ["input"], wide=True)).plain.splitlines()[1]) > 100


@pytest.mark.parametrize(
    ("incomplete", "candidates"),
    [
        ("sta", ["status", "started"]),
        ("id,sta", ["id,status", "id,started"]),
        ("status,sta", ["status,started"]),
        ("zzz", []),
    ],
)
def test_names_are_completed_behind_the_last_comma(incomplete, candidates):
    assert _complete_columns(incomplete) == candidates


@pytest.fixture
def stack(environment):
    stack = SampleStack(environment)
    stack.ok("wf", "start", "nobodys", "--id", "alone", "--input", "[1, 2]")
    return stack


def test_a_pipe_gets_the_columns_in_the_order_given(stack):
    rows = stack.ok("wf", "list", "--columns", "input,invocation_id,detail").splitlines()
    assert rows == ["INPUT\tID\tDETAIL", "[1, 2]\talone\twaiting for a processor to pick it up"]


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (
            ["--columns", "id,statsu"],
            "There is no column 'statsu'.",
            "Did you mean 'status'? The columns are id, handl",
        ),
        (["--columns", ""], "There is no column ''.", "The columns are id, handler,"),
        (["--columns", "id", "--json"], "--columns is about the table, but -o json was asked for.", "with jq"),
        (["--columns", "id", "-o", "name"], "--columns is about the table, but -o name was asked for.", "JSON holds"),
        (["--columns", "id", "--count"], "--count is about all that match", "--oldest-first and --columns."),
    ],
)
def test_mistakes_are_named(stack, args, message, hint):
    result = stack("wf", "list", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    told = json.loads(result.stderr)["error"] if "--json" in args else {"message": result.stderr, "hint": result.stderr}
    assert message in told["message"]
    assert hint in told["hint"]
