"""start, result, get, list, stats and processors against a real server, with the sample app running."""

from __future__ import annotations

import json
import re

import pytest

from durablectl.cli.handler_notes import unserved_handler
from helpers.gates import Gates
from helpers.sample_stack import sample_stack
from helpers.waiting import block_until

ID = re.compile(r"[0-9a-f]{5}(-[0-9a-f]{5}){3}\n")
HEADER = "ID\tHANDLER\tSTATUS\tSTEP\tSTEP_TYPE\tSTEPS\tCREATED\tFINISHED\tERROR"
GREETINGS = ["Hello, User:user-001!", "Hello, Team:user-001!", "Hello, Account:user-001!"]


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def stack(nats_server, gates):
    with sample_stack(nats_server, gates) as running:
        yield running


@pytest.mark.smoke
def test_start_and_wait_for_json(stack):
    found = json.loads(stack.ok("wf", "start", "async_workflow", "--input", '"user-001"', "--wait", "--json"))
    assert found["status"] == "completed"
    assert found["output"] == GREETINGS
    assert [entry["step_type"] for entry in found["journal"]] == ["HelloService.SayHello"] * 3
    assert found["journal"][0]["request"] == {"name": "User:user-001"}
    assert found["journal"][0]["response"] == {"message": "Hello, User:user-001!"}
    assert found["journal"][0]["started_at"] <= found["journal"][2]["finished_at"] <= found["finished_at"]
    assert (found["current_step"], found["current_step_type"]) == (-1, "")


def test_start_prints_the_id_and_nothing_else(stack):
    result = stack("wf", "start", "hello_workflow", "--input", '"Ada"')
    assert ID.fullmatch(result.stdout)
    assert result.stderr == ""
    assert stack.ok("wf", "result", result.stdout.strip()) == '"Hello, Ada!"\n'


def test_start_json_names_the_id(stack):
    assert json.loads(stack.ok("wf", "start", "hello_workflow", "-i", '"Ada"', "--id", "named", "--json")) == {
        "invocation_id": "named"
    }
    again = stack("wf", "start", "hello_workflow", "--id", "named")
    assert again.exit_code == 7
    assert again.stderr.startswith("Error: A workflow with the id named exists already (hello_workflow, ")


def test_input_from_a_file_and_from_standard_input(stack, tmp_path):
    path = tmp_path / "names.json"
    path.write_text('["Ada", "Grace"]')
    greetings = ["Hello, Ada!", "Hello, Grace!"]
    assert json.loads(stack.ok("wf", "start", "greet_many", "--input", f"@{path}", "--wait")) == greetings
    piped = stack.ok("wf", "start", "greet_many", "--input", "-", "--wait", input=path.read_text())
    assert json.loads(piped) == greetings
    message = '{"ticket_id": "A-7", "user_id": "ada"}'
    assert json.loads(stack.ok("wf", "start", "add_ticket_to_cart", "-i", message, "--wait")) == ["A-7:ada"]


def test_waiting_for_a_failure_exits_with_10(stack):
    result = stack("wf", "start", "flaky_workflow", "-i", '"flaky"', "--id", "flaky", "--wait")
    assert result.exit_code == 10
    assert result.stdout == ""
    assert result.stderr.splitlines()[:2] == [
        "Started flaky.",
        "Error: The workflow flaky failed: Step 0 'attempt' failed after 3 attempts: 'flaky' was dropped on the way",
    ]
    assert stack("wf", "result", "flaky").exit_code == 10
    as_json = stack("wf", "result", "flaky", "--json")
    assert (as_json.exit_code, as_json.stderr) == (10, "")
    found = json.loads(as_json.stdout)
    assert (found["status"], found["error_type"], found["journal"][0]["attempts"]) == ("failed", "StepError", 3)


def test_wait_timeout_exits_with_5_and_workflow_continues(stack, gates):
    slow = ("wf", "start", "gated", "-i", '"late"', "--id", "late", "--wait")
    result = stack(*slow, "--timeout", "200ms")
    assert result.exit_code == 5
    assert "The workflow late had not ended after 0.2 s." in result.stderr
    shown = block_until(lambda: shown_in_a_step(stack, "late"))
    assert "Status\trunning" in shown
    assert re.search(r"^Now\trunning step 0 prepare for \d", shown, re.MULTILINE)
    gates.open("late")
    assert stack.ok("wf", "result", "late", "--timeout", "60s") == '"late is published"\n'


def shown_in_a_step(stack, invocation_id: str) -> str:
    shown = stack.ok("wf", "get", invocation_id)
    return shown if "prepare" in shown else ""


def test_start_of_unknown_handler_succeeds_with_a_note(stack):
    result = stack("wf", "start", "async_workfow", "--id", "unheard")
    assert (result.exit_code, result.stdout) == (0, "unheard\n")
    assert result.stderr == (
        "No live processor has registered the handler 'async_workfow'; the workflow waits until one does."
        " Did you mean 'async_workflow'?\n"
    )
    shown = stack.ok("wf", "get", "unheard")
    assert "Now\twaiting: no live processor has registered handler async_workfow" in shown
    noted = stack("wf", "start", "async_workfow", "--json")
    assert json.loads(noted.stderr)["note"]["message"].startswith("No live processor has registered")
    assert json.loads(stack.ok("wf", "get", "unheard", "--json"))["waiting_for"]["kind"] == "processor"


def test_the_note_without_a_close_match():
    assert unserved_handler("x", ["alpha", "beta"]).endswith("Registered are: alpha, beta.")
    assert unserved_handler("x", []).endswith("There is no live processor at all.")


def test_get_in_a_pipe_is_whole_and_tab_separated(stack):
    stack.ok("wf", "start", "async_workflow", "-i", '"user-001"', "--id", "shown", "--wait")
    lines = stack.ok("wf", "get", "shown").splitlines()
    assert lines[:3] == ["Id\tshown", "Handler\tasync_workflow", "Status\tcompleted"]
    assert f"Output\t{json.dumps(GREETINGS)}" in lines
    steps = [line.split("\t") for line in lines[lines.index("") + 1 :]]
    assert steps[0][:3] == ["STEP", "STEP_TYPE", "STATE"]
    assert [row[2] for row in steps[1:]] == ["done"] * 3
    assert steps[1][6:8] == ['{"name": "User:user-001"}', '{"message": "Hello, User:user-001!"}']
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", steps[1][3])


def test_list_is_newest_first_and_filtered(stack):
    for number in range(3):
        stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", f"listed-{number}", "--wait")
    stack.ok("wf", "start", "nobody", "--id", "listed-pending")
    ids = stack.ok("wf", "list", "-o", "name").split()
    assert ids[:4] == ["listed-pending", "listed-2", "listed-1", "listed-0"]
    filtered = ("--handler", "hello_workflow", "--handler", "nobody", "--limit", "2")
    page = json.loads(stack.ok("wf", "list", *filtered, "--json"))
    assert [workflow["invocation_id"] for workflow in page["workflows"]] == ["listed-pending", "listed-2"]
    assert page["total"] >= 4
    active = stack.ok("wf", "list", "--status", "active", "--handler", "nobody", "-o", "jsonl")
    assert [json.loads(line)["status"] for line in active.splitlines()] == ["pending"]
    assert stack.ok("wf", "list", "--status", "pending", "--status", "failed", "-o", "name").split()


def test_list_in_a_pipe(stack):
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", "piped", "--wait")
    result = stack("wf", "list", "--limit", "1")
    header, row = result.stdout.splitlines()
    assert header == HEADER
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert (cells["ID"], cells["STATUS"], cells["STEPS"], cells["ERROR"]) == ("piped", "completed", "1", "")
    assert re.fullmatch(r"Showing 1 of \d+\.\n", result.stderr)
    assert "PARTITION_KEY" in stack.ok("wf", "list", "-o", "wide").splitlines()[0]


def test_empty_list_prints_a_note_and_exits_with_0(stack):
    result = stack("wf", "list", "--handler", "never_started")
    assert (result.exit_code, result.stdout) == (0, "")
    told, unknown = result.stderr.splitlines()
    assert told == "No workflows."
    assert unknown.startswith(
        "No workflow and no live processor has the handler 'never_started'. There are: add_ticket"
    )
    assert json.loads(stack.ok("wf", "list", "--handler", "never_started", "--json")) == {
        "workflows": [],
        "total": 0,
        "next_cursor": None,
    }
    assert stack.ok("wf", "list", "--handler", "never_started", "-o", "jsonl") == ""


def test_stats_count_matches_list(stack):
    stack.ok("wf", "start", "hello_workflow", "-i", '"x"', "--wait")
    stats = json.loads(stack.ok("wf", "stats", "--json"))
    listed = json.loads(stack.ok("wf", "list", "--limit", "1000", "--json"))
    assert stats["total"] == listed["total"] == sum(stats["by_status"].values()) == sum(stats["by_handler"].values())
    lines = stack.ok("wf", "stats", "--handler", "hello_workflow").splitlines()
    assert lines[0] == "BY\tNAME\tCOUNT"
    number = stats["by_handler"]["hello_workflow"]
    assert f"total\t\t{number}" in lines
    assert f"handler/status\thello_workflow/completed\t{number}" in lines


def test_processors_are_listed(stack):
    (found,) = json.loads(stack.ok("processors", "--json"))["processors"]
    assert "slow_workflow" in found["handlers"]
    assert found["slots"] == 100
    lines = stack.ok("processors").splitlines()
    assert lines[1].split("\t")[0] == found["processor_id"] == stack.ok("processors", "-o", "name").strip()
    (line,) = stack.ok("processors", "-o", "jsonl").splitlines()
    assert json.loads(line)["processor_id"] == found["processor_id"]
