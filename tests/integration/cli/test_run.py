"""`run processor` and `run service` as real processes, and what they log."""

from __future__ import annotations

import json
import logging
import signal
import sys

import pytest

from durablectl.cli.terminal.logs import JsonFormatter, TextFormatter
from helpers.waiting import block_until

APP = """
import asyncio, time
from durablectl import Context, service, workflow

def block():
    time.sleep(60)

async def nap(seconds):
    await asyncio.sleep(seconds)
    return seconds

@workflow
async def blocking(ctx: Context):
    await ctx.step(block)

@workflow
async def napping(ctx: Context, seconds: float):
    ctx.log.info("good night", extra={"bed": 7})
    return await ctx.step(nap, seconds)

@workflow
async def failing(ctx: Context):
    raise ValueError("no\\x1b[31m way")

@service("Echo")
class Echo:
    async def Say(self, request):
        return request
"""


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "night.py"
    path.write_text(APP)
    return path.name


@pytest.fixture
def processor(spawn, app):
    def start(*args: str, **options):
        process = spawn("run", "processor", app, "--log-format", "json", *args, **options)
        block_until(lambda: "takes commands for" in process.err(), detail=process.err)
        return process

    return start


def records(process):
    return [json.loads(line) for line in process.err().splitlines()]


def busy(cli) -> int:
    return sum(processor["busy"] for processor in json.loads(cli("processors", "--json").stdout)["processors"])


def test_version_of_the_app_is_named_by_option_or_environment(processor, cli, app):
    processor("--app-version", "2.4.1", env={"DURABLECTL_APP_VERSION": "other"})
    processor(env={"DURABLECTL_APP_VERSION": "9f2c01d"})
    found = json.loads(cli("processors", "--json").stdout)["processors"]
    assert {each["app_version"] for each in found} == {"2.4.1", "9f2c01d"}
    refused = cli("run", "processor", app, "--app-version", "two\nlines")
    assert refused.returncode == 2
    assert "The version of the app is no line of at most 100 characters: 'two\\nlines'." in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_hands_the_work_back_and_exits_0(processor, cli, number):
    process = processor("--grace", "0.3", "--max-concurrent", "3")
    cli("wf", "start", "napping", "--input", "60", "--id", "nap")
    block_until(lambda: "good night" in process.err(), detail=process.err)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert json.loads(cli("wf", "get", "nap", "--json").stdout)["status"] == "pending"
    (night,) = [record for record in records(process) if record["message"] == "good night"]
    assert night.items() >= {"invocation_id": "nap", "handler": "napping", "bed": 7, "level": "info"}.items()
    assert night["time"].endswith("Z")
    assert process.out() == ""


@pytest.mark.parametrize("handler", ["blocking", "napping"])
def test_second_signal_ends_processor_at_once(processor, cli, handler):
    process = processor("--grace", "3600")
    cli("wf", "start", handler, *(["--input", "60"] if handler == "napping" else []))
    block_until(lambda: busy(cli) == 1, detail=process.err)
    process.interrupt()
    block_until(lambda: "Stopping" in process.err(), detail=process.err)
    assert process.poll() is None
    process.interrupt()
    assert process.wait(60) == 130


def test_a_step_that_blocks_does_not_hold_up_the_end(processor, cli):
    process = processor("--grace", "0.2")
    cli("wf", "start", "blocking")
    block_until(lambda: busy(cli) == 1, detail=process.err)
    process.terminate()
    assert process.wait(60) == 0


def test_processor_logs_its_slots_and_failures(processor, cli):
    process = processor("--max-concurrent", "7", "--ack-wait", "5")
    (found,) = json.loads(cli("processors", "--json").stdout)["processors"]
    assert (found["slots"], found["handlers"]) == (7, ["blocking", "failing", "napping"])
    cli("wf", "start", "failing", "--id", "f", "--wait")
    block_until(lambda: "Failed" in process.err(), detail=process.err)
    (failed,) = [record for record in records(process) if record["message"].startswith("Failed")]
    assert failed.items() >= {"level": "warning", "invocation_id": "f", "handler": "failing"}.items()


def test_the_sample_app_is_announced(spawn):
    process = spawn("run", "service")
    block_until(lambda: "TicketService" in process.err(), detail=process.err)
    assert "WARNING  No app was named: running the sample app durablectl.demo." in process.err()
    process.terminate()
    assert process.wait(60) == 0


def test_service_starts_and_stops(spawn, app):
    process = spawn("run", "service", app, "--log-format", "json")
    block_until(lambda: "Echo" in process.err(), detail=process.err)
    process.interrupt()
    assert process.wait(60) == 0
    assert [record["message"] for record in records(process)] == ["Service Echo serves: Say.", "Stopping."]


def test_the_app_may_come_from_the_environment_or_pyproject(spawn, app, tmp_path):
    process = spawn("run", "processor", env={"DURABLECTL_APP": app})
    block_until(lambda: "takes commands for: blocking, failing, napping" in process.err(), detail=process.err)
    process.terminate()
    assert process.wait(60) == 0
    (tmp_path / "pyproject.toml").write_text(f'[tool.durablectl]\napp = "{app}"\n')
    process = spawn("run", "processor")
    block_until(lambda: "takes commands for: blocking, failing, napping" in process.err(), detail=process.err)
    assert "No app was named" not in process.err()


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {
            "name": "durablectl.engine.worker.execute",
            "levelno": 30,
            "levelname": "WARNING",
            "msg": message,
            "args": args,
            **extra,
        }
    )
    made.created = 1_795_384_800.25
    return made


def test_text_logs():
    made = record("it %s\nfailed\x1b[2J", "really", invocation_id="abc", handler="pay")
    assert TextFormatter().format(made) == (
        "2026-11-22T22:00:00.250Z  WARNING  it really\n  failed\\x1b[2J  engine.worker.execute  "
        "invocation_id=abc  handler=pay"
    )
    assert TextFormatter(short=True).format(record("hm")) == "22:00:00.250  WARNING  hm  engine.worker.execute"
    assert TextFormatter(coloured=True).format(record("hm")) == (
        "\x1b[2m2026-11-22T22:00:00.250Z\x1b[0m  \x1b[33mWARNING\x1b[0m  hm  \x1b[2mengine.worker.execute\x1b[0m"
    )


def test_json_logs():
    try:
        {}["key"]
    except KeyError:
        made = record("x", invocation_id="abc", odd={1}, exc_info=sys.exc_info())
    line = JsonFormatter().format(made)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("exception").endswith("KeyError: 'key'")
    assert found == {
        "time": "2026-11-22T22:00:00.250Z",
        "level": "warning",
        "logger": "durablectl.engine.worker.execute",
        "message": "x",
        "invocation_id": "abc",
        "odd": "{1}",
    }
