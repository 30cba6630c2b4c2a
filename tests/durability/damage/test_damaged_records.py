"""State records that are damaged: what operators are told of them, and that the others are shown and counted."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
from typer.testing import CliRunner

from durablectl.cli.main import app
from durablectl.errors import UnreadableError
from durablectl.model.codec import decode_execution
from durablectl.model.message_types import Schemas
from durablectl.model.validation import is_valid
from durablectl.query.view_builder import workflow_view
from durablectl.storage.records.journal import JournalRange
from helpers.damage import DAMAGED, UNREADABLE, UNUSABLE, full, put_damaged
from helpers.http_api import http_api
from helpers.in_process import provisioned_store

READING = ["get", "why", "timeline", "diff ID sound-1"]
CHANGING = [
    "pause",
    "resume",
    "cancel",
    "cancel --now",
    "retry",
    "retry --restart",
    "delete --yes",
    "signal ID go",
    "resolve ID.a",
    "reject ID.a --error no",
]
OF_ALL = [
    "wf list",
    "wf list --scan",
    "wf list --status active",
    "wf list --error x",
    "wf list --created-since 2h",
    "wf list --parent sound-2",
    "wf stats",
    "wf errors",
    "wf tail --since 1h --limit 3",
    "processors",
    "schedule list",
]


@pytest.fixture
async def store(settings):
    async with provisioned_store(settings) as opened:
        await put_damaged(opened)
        yield opened


@pytest.fixture
def told(environment):
    """Run a command with --json: its exit code, what it says, and its error. All of it is JSON, whatever it met."""
    runner = CliRunner(env=environment)

    def run(command: str) -> tuple[int, str, dict]:
        result = runner.invoke(app, [*command.split(), "--json"])
        assert result.exception is None or isinstance(result.exception, SystemExit), command
        assert "Traceback" not in result.output
        errors = [json.loads(line) for line in result.stderr.splitlines()]
        for line in result.stdout.splitlines() if "tail" in command else [result.stdout] if result.stdout else []:
            json.loads(line)
        return result.exit_code, result.stdout, next((e["error"] for e in errors if "error" in e), {})

    return lambda command: asyncio.to_thread(partial(run, command))


def of_one(command: str, invocation_id: str) -> str:
    operation, _, rest = command.partition(" ")
    return f"wf {command.replace('ID', invocation_id) if 'ID' in rest else f'{operation} {invocation_id} {rest}'}"


def damages(data: bytes):
    yield from (data[:length] for length in range(len(data)))
    for place in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)


def test_cut_or_flipped_bytes_decode_to_a_record_or_an_error():
    readable = unreadable = 0
    for data in damages(full("w-1")):
        try:
            execution = decode_execution(data, "w-1")
        except UnreadableError:
            unreadable += 1
            continue
        readable += 1
        is_valid(execution)
        part = JournalRange(execution.journal, 0, len(execution.journal))
        json.dumps(workflow_view(execution, 1, Schemas(), part).to_json(), allow_nan=False)
    assert min(readable, unreadable) > 100


def test_records_listed_as_unusable_are_invalid():
    for name, data in UNUSABLE.items():
        assert not is_valid(decode_execution(data, name)), name
    assert is_valid(decode_execution(full("w-1"), "w-1"))


@pytest.mark.parametrize("name", [*UNREADABLE, "unknown-status", "bad-partition", "late-time"])
async def test_operations_on_damaged_record_fail_and_change_nothing(store, told, name):
    before = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    for command in READING:
        code, shown, error = await told(of_one(command, name))
        assert (code, error.get("code")) == ((1, "unreadable") if name in UNREADABLE else (0, None)), command
        assert bool(shown) == (name not in UNREADABLE)
    for command in [*CHANGING, *(["watch", "result"] if name in UNREADABLE else [])]:
        code, shown, error = await told(of_one(command, name))
        assert (code, error["code"], shown) == (1, "unreadable", ""), command
        assert error["message"].startswith(f"The state of {name} cannot be ")
    after = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    assert after["state"]["last_seq"] == before["state"]["last_seq"]


@pytest.mark.usefixtures("store")
async def test_lists_and_counts_skip_damaged_records(told):
    for command in OF_ALL:
        code, _, error = await told(command)
        assert (code, error) == (0, {}), command
    for options in ("", "--status active", "--scan"):
        _, shown, _ = await told(f"wf list {options}")
        ids = {each["invocation_id"] for each in json.loads(shown)["workflows"]}
        assert "sound-2" in ids
        assert not ids & {*UNREADABLE}


@pytest.mark.usefixtures("store")
async def test_doctor_names_damaged_records_and_repairs_the_valid_ones(told):
    _, shown, _ = await told("doctor")
    checks = {check["name"]: check for check in json.loads(shown)["checks"]}
    assert (checks["records"]["severity"], checks["records"]["unreadable"]) == ("warning", len(UNREADABLE))
    assert "nats kv del" in checks["records"]["hint"]
    code, _, error = await told("doctor --repair")
    assert (code, error) == (1, {}), "it repairs what it can, and says what is left"
    _, shown, _ = await told("doctor")
    checks = {check["name"]: check for check in json.loads(shown)["checks"]}
    assert checks["index"]["severity"] == "ok"
    assert checks["records"]["unreadable"] == len(UNREADABLE), "no repair removes a record"


@pytest.mark.usefixtures("store")
async def test_over_http_each_is_an_answer_with_a_sentence(settings):
    async with http_api(settings) as http:
        for name in DAMAGED:
            target = f"/api/workflows/{name}"
            answers = [
                await http.post(f"{target}/{operation}", {}) for operation in ("pause", "resume", "cancel", "retry")
            ]
            answers += [await http.post(f"{target}/signals/go", 1), await http("DELETE", target)]
            shown = await http.get(target)
            if name in UNREADABLE:
                answers.append(shown)
            else:
                assert (shown.status, shown.json["invocation_id"]) == (200, name)
            for answer in answers:
                assert (answer.status, answer.error["code"]) == (409, "unreadable"), name
        for target in ("", "/active", "/stats", "?status=failed", "?error=x"):
            assert (await http.get(f"/api/workflows{target}")).status == 200
        assert (await http.get("/metrics")).status == 200
