"""What every command prints as JSON, in several states, against the schemas of docs/schemas."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from durablectl.cli.main import app
from helpers.json_schemas import DOCUMENT, SCHEMAS, STATES, check, every_state, parsed
from helpers.sample_stack import sample_stack
from helpers.waiting import block_until, wait_until

SHARED = {"common", "stderr"}
FORMATS = ["json", "jsonl"]
ENDED = [name for name, (*_, status) in STATES.items() if status in {"completed", "failed"}]
QUERIES = [
    *(("wf-get", "wf", "get", name) for name in STATES),
    *(("wf-why", "wf", "why", name) for name in STATES),
    *(("wf-timeline", "wf", "timeline", name) for name in STATES),
    *(("wf-diff", "wf", "diff", "done", name) for name in STATES),
    *(("wf-watch", "wf", "watch", name) for name in ENDED),
    ("wf-watch", "wf", "watch", "done", "--expand"),
    ("wf-get", "wf", "get", "done", "--steps", "1:2"),
    ("wf-diff", "wf", "diff", "failed", "retried", "--full"),
    ("wf-diff", "wf", "diff", "done", "busy", "--full"),
    ("wf-list", "wf", "list"),
    ("wf-list", "wf", "list", "--limit", "2"),
    ("wf-list", "wf", "list", "--status", "failed"),
    ("wf-list", "wf", "list", "--handler", "nothing"),
    ("wf-list", "wf", "list", "--scan"),
    ("wf-list", "wf", "list", "--count"),
    ("wf-stats", "wf", "stats"),
    ("wf-stats", "wf", "stats", "--handler", "nothing"),
    ("wf-errors", "wf", "errors"),
    ("wf-errors", "wf", "errors", "--handler", "nothing"),
    ("wf-tail", "wf", "tail", "--since", "1h", "--limit", str(len(STATES))),
    ("processors", "processors"),
    ("status", "status"),
    ("schedule-list", "schedule", "list"),
    ("jobs-list", "jobs", "list"),
    ("audit", "audit"),
    ("wf-get", "wf", "get", "retried", "--history"),
    ("jobs-list", "jobs", "list", "--status", "paused"),
    *(
        (f"wf-{verb}", "wf", verb, "--dry-run", *STATES)
        for verb in ("pause", "resume", "cancel", "retry", "retry-now", "delete")
    ),
    *(
        (f"wf-{verb}", "wf", verb, "none", "neither")
        for verb in ("pause", "resume", "cancel", "retry", "retry-now", "delete")
    ),
    ("wf-pause", "wf", "pause", "--dry-run", "--handler", "nothing"),
]


@pytest.fixture(scope="module")
def stack(nats_server):
    with every_state(nats_server) as running:
        yield running


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query[1:]))
def test_query_output_matches_its_schema(stack, query, output):
    name, *args = query
    result = stack(*args, "-o", output)
    assert result.exit_code in ({0, 1} if name == "status" else {0, 6}), result.stderr
    values = check(name, result.stdout, output)
    assert values or "nothing" in args or args[0] == "schedule" or output == "jsonl"
    for line in result.stderr.splitlines():
        check("stderr", line, "jsonl")


@pytest.mark.parametrize("output", FORMATS)
def test_one_workflow_is_steered(stack, output):
    def run(name, *args, code=0):
        result = stack(*args, "-o", output)
        assert result.exit_code == code, result.stderr
        for line in result.stderr.splitlines():
            check("stderr", line, "jsonl")
        (value,) = check(name, result.stdout, output)
        return value

    started = run("wf-start", "wf", "start", "asking")["invocation_id"]
    run("wf-pause", "wf", "pause", started)
    run("wf-resume", "wf", "resume", started)
    assert run("wf-signal", "wf", "signal", started, "note", "--data", "1")["invocation_id"] == started
    run("wf-resolve", "wf", "resolve", f"{started}.approval", "--data", '{"a": null}')
    assert run("wf-result", "wf", "result", started)["output"] == {"a": None}
    failed = run("wf-start", "wf", "start", "raising", "--wait", code=10)
    assert run("wf-retry", "wf", "retry", failed["invocation_id"])["restarted_from"] is None
    assert run("wf-result", "wf", "result", failed["invocation_id"], code=10)["traceback"]
    assert run("wf-retry", "wf", "retry", failed["invocation_id"], "--restart")["restarted_from"]
    asked = run("wf-start", "wf", "start", "asking")["invocation_id"]
    run("wf-reject", "wf", "reject", f"{asked}.approval", "--error", "no")
    assert run("wf-result", "wf", "result", asked, code=10)["error"]
    cancelled = run("wf-start", "wf", "start", "asking")["invocation_id"]
    run("wf-cancel", "wf", "cancel", cancelled, "--wait")
    assert run("wf-result", "wf", "result", cancelled, code=11)["status"] == "cancelled"
    run("wf-delete", "wf", "delete", cancelled)
    tailed = stack.ok("wf", "tail", "--since", "1h", "--status", "deleted", "--limit", "1", "-o", output)
    assert check("wf-tail", tailed, output)[0]["status"] == "deleted"


@pytest.mark.parametrize("output", FORMATS)
def test_many_workflows_are_steered(stack, output):
    ids = [stack.ok("wf", "start", "asking", "--partition-key", "many").strip() for _ in range(3)]
    for verb, *options in (("pause",), ("resume",), ("cancel", "--wait"), ("retry",), ("cancel", "--wait")):
        result = stack("wf", verb, *options, *ids, "nowhere", "-o", output)
        assert result.exit_code == 6
        values = check(f"wf-{verb}", result.stdout, "jsonl")
        assert [value["ok"] for value in values] == [True] * 3 + [False]
    selected = ("--partition-key", "many", "-o", output)
    assert len(check("wf-delete", stack.ok("wf", "delete", "--dry-run", *selected), "jsonl")) == 3
    assert len(check("wf-delete", stack.ok("wf", "delete", "--yes", *selected), "jsonl")) == 3


@pytest.mark.parametrize("output", FORMATS)
def test_jobs(stack, output):
    def run(name, *args):
        return check(name, stack.ok(*args, "-o", output), output)

    ids = [stack.ok("wf", "start", "asking", "--partition-key", f"job-{output}").strip() for _ in range(2)]
    (job,) = run("wf-pause", "wf", "pause", "--background", *ids, "nowhere")
    job_id = job["job_id"]
    last = check("jobs-watch", stack.ok("jobs", "watch", job_id, "--json"), "jsonl")[-1]
    assert (last["status"], last["changed"], last["failed"]) == ("completed", 2, 1)
    run("jobs-get", "jobs", "get", job_id)
    (reports,) = run("jobs-get", "jobs", "get", job_id, "--failures")
    assert "nowhere" in json.dumps(reports)
    run("jobs-list", "jobs", "list")
    (slow,) = run("wf-resume", "wf", "resume", "--background", "--rate", "0.001", *ids)
    run("jobs-pause", "jobs", "pause", slow["job_id"])
    run("jobs-resume", "jobs", "resume", slow["job_id"])
    run("jobs-cancel", "jobs", "cancel", slow["job_id"])
    filters = ("--partition-key", f"job-{output}", "--status", "active", "--yes", "--background")
    (job,) = run("wf-cancel", "wf", "cancel", *filters)
    assert job["filters"]


@pytest.mark.parametrize("output", FORMATS)
def test_schedules(stack, output):
    def run(verb, *args):
        (value,) = check(f"schedule-{verb}", stack.ok("schedule", verb, *args, "-o", output), output)
        return value

    run("create", f"often-{output}", "short", "--every", "1h", "--input", "1")
    run("create", f"nightly-{output}", "short", "--cron", "0 3 * * *", "--tz", "Europe/Berlin")
    for verb in ("get", "pause", "get", "pause", "resume", "trigger", "get"):
        run(verb, f"often-{output}")
    listed = check("schedule-list", stack.ok("schedule", "list", "-o", output), output)
    assert len(listed if output == "jsonl" else listed[0]["schedules"]) == 2
    for name in ("often", "nightly"):
        run("delete", f"{name}-{output}")


def test_a_doctor(stack):
    for options in ((), ("--repair", "--dry-run"), ("--repair",)):
        result = stack("doctor", *options, "--json")
        assert result.exit_code in {0, 1}
        (value,) = check("doctor", result.stdout)
        assert (value["repair"] is None) == (not options)


def test_doctor_output_with_problems_matches_its_schema(runner):
    assert runner.invoke(app, ["wf", "start", "nobodys"]).exit_code == 0
    (value,) = check("doctor", runner.invoke(app, ["doctor", "--json"]).stdout)
    assert not value["healthy"]
    assert {each["name"] for each in value["checks"]} == {*SCHEMAS["doctor"]["$defs"]}


def test_watch_output_of_running_workflow_matches_its_schema(nats_server, spawn):
    with sample_stack(nats_server) as stack:
        watch = spawn("wf", "watch", "slow", "--wait", "--json", env=stack.environment)
        block_until(lambda: "waiting for it" in watch.err(), detail=watch.err)
        stack.ok("wf", "start", "slow_workflow", "-i", '"x"', "--id", "slow")
        assert watch.wait(60) == 0
        values = check("wf-watch", watch.out(), "jsonl")
        assert {value["status"] for value in values} >= {"running", "completed"}


async def test_many_workflows_that_are_watched(stack, spawn):
    process = spawn("wf", "watch", "--status", "active", "--json", env=stack.environment)
    active = {name for name, (*_, status) in STATES.items() if status in {"suspended", "running"}} - {"cancelled"}
    await wait_until(lambda: {value["invocation_id"] for value in parsed(whole_lines(process.out()))} >= active)
    check("wf-watch", whole_lines(process.out()), "jsonl")


def whole_lines(text):
    return text[: text.rfind("\n") + 1]


def test_the_demo(cli):
    done = cli("demo", "--json")
    assert done.returncode == 0
    (value,) = check("demo", done.stdout)
    assert value["total"] == 10


async def test_a_stack_that_stays_up(spawn, tmp_path):
    process = spawn("dev", "--data-dir", str(tmp_path / "data"), "--nats-port", "0", "--json")
    await wait_until(lambda: process.out().endswith("}\n"))
    check("dev", process.out())


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("wf", "get", "nowhere"), "not_found"),
        (("wf", "get", "a.b"), "invalid_name"),
        (("wf", "lst"), "usage"),
        (("wf", "list", "--nats-url", "nats://127.0.0.1:1"), "cannot_connect"),
        (("wf", "list", "--context", "nowhere"), "configuration"),
        (("wf", "resume", "done"), "invalid_state"),
        (("wf", "result", "asking", "--timeout", "10ms"), "timed_out"),
    ],
)
def test_an_error_is_one_object_on_standard_error(stack, args, code):
    result = stack(*args, "--json")
    assert result.stdout == ""
    (value,) = check("stderr", result.stderr, "jsonl")
    assert value["error"]["code"] == code


def commands(tree, path=()):
    for name, command in getattr(tree, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from commands(command, (*path, name))
        else:
            yield "-".join((*path, name)), command


def test_every_json_command_has_a_documented_schema():
    from typer.main import get_command

    printing = {
        name
        for name, command in commands(get_command(app))
        if any(each.name == "json_output" for each in command.params)
    }
    assert printing == {*SCHEMAS} - SHARED
    assert set(re.findall(r"\(schemas/([\w-]+)\.json\)", DOCUMENT)) == {*SCHEMAS}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_leaves_nothing_open(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    for shape in objects(SCHEMAS[name]):
        assert shape["required"] == [*shape["properties"]]
        assert shape["additionalProperties"] is False


def objects(schema):
    if isinstance(schema, dict):
        if "properties" in schema and "type" in schema:
            yield schema
        for each in schema.values():
            yield from objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from objects(each)


def test_schema_check_rejects_wrong_output():
    right = {"invocation_id": "a", "status": "paused", "changed": True, "message": "Paused.", "restarted_from": None}
    check("wf-signal", json.dumps(right))
    for wrong in (
        {**right, "more": 1},
        {key: value for key, value in right.items() if key != "message"},
        dict(reversed(right.items())),
        {**right, "changed": "yes"},
    ):
        with pytest.raises(AssertionError):
            check("wf-signal", json.dumps(wrong))
    assert parsed('{"a": 1}\n[2]') == [{"a": 1}, [2]]


def test_document_lists_the_format_of_each_command():
    from typer.main import get_command

    table = re.findall(r"^\| `(wide|name)` \| (.*?) \|", DOCUMENT, re.MULTILINE)
    for output, told in table:
        taking = {
            name.replace("-", " ", 1)
            for name, command in commands(get_command(app))
            for each in command.params
            if each.name == "output_format" and output in each.metavar.split("|")
        }
        assert taking == set(re.findall(r"`([^`]+)`", told)), output
    assert len(table) == 2


def test_the_examples_of_the_document_fit_their_schemas():
    examples = [parsed(text) for text in re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)]
    (workflow,), (item,), (report,), (finding,), told = examples
    check("wf-list", json.dumps(workflow), "jsonl")
    check("wf-pause", json.dumps(item))
    check("jobs-get", json.dumps(report), "jsonl")
    check("doctor", json.dumps({"healthy": False, "checks": [finding], "repair": None}))
    for each in told:
        check("stderr", json.dumps(each), "jsonl")
