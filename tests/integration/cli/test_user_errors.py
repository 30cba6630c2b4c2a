"""Each mistake a user can make: a sentence, the right exit code, and nothing changed."""

from __future__ import annotations

import json
import logging
import time

import pytest

from durablectl.cli.main import app
from durablectl.embedded import EmbeddedServer

NOWHERE = "nats://127.0.0.1:1"
NAME_HINT = "use letters, digits, '-', '_' and '=', 1 to 128 of them."
START = ("wf", "start", "hello_workflow")


@pytest.fixture(autouse=True)
def _logging(monkeypatch):
    """`run` takes the root logger over, for the rest of its process."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*START, "--input", "user-001"), "The input is not JSON: expecting value at column 1, near 'user-001'."),
        ((*START, "--id", "a.b"), "The invocation id 'a.b' holds the character '.', which is not allowed."),
        ((*START, "--id", "*"), "The invocation id '*' holds the character '*', which is not allowed."),
        ((*START, "--id", "a" * 200), "The invocation id has 200 characters."),
        ((*START, "--id", ""), "The invocation id is empty."),
        ((*START, "--id", "stats"), "The invocation id 'stats' is reserved."),
        ((*START, "--partition-key", ">"), "The partition key '>' holds the character '>', which is not allowed."),
        (("wf", "start", "a handler"), "The handler 'a handler' holds the character ' ', which is not allowed."),
        ((*START, "--input", "1e999"), "The input of workflow 'hello_workflow' is a float that JSON cannot hold:"),
        ((*START, "--timeout", "3s"), "--timeout is about --wait, which was not given."),
        ((*START, "--wait", "--timeout", "soon"), "The --timeout cannot be used: 'soon' is not a"),
        (("wf", "get", "a.b"), "The invocation id 'a.b' holds the character '.', which is not allowed."),
        (("wf", "watch", ""), "The invocation id is empty."),
        (("wf", "result", ">"), "The invocation id '>' holds the character '>', which is not allowed."),
        (("wf", "list", "--status", "done"), "There is no status 'done'."),
        (("wf", "list", "--limit", "0"), "The limit 0 is out of range."),
        (("wf", "list", "--handler", "a.*"), "The handler 'a.*' holds the character '.', which is not allowed."),
        (("wf", "list", "-o", "yaml"), "This command has no output format 'yaml'."),
        (("wf", "stats", "-o", "name"), "This command has no output format 'name'."),
        (("wf", "lst"), "No such command 'lst'."),
        (("run", "processor", "--max-concurrent", "0"), "Invalid value for '--max-concurrent'"),
        (
            ("run", "processor", "--ack-wait", "0"),
            "The --ack-wait cannot be 0.0: use more than 0 seconds",
        ),
        (
            ("run", "processor", "--ack-wait", "nan"),
            "The --ack-wait cannot be nan: use more than 0 seconds, up to 100 years",
        ),
        (("run", "processor", "--grace", "inf"), "The --grace cannot be inf: use 0 seconds to 100 years"),
        (("wf", "pause", "x", "--rate", "inf"), "The --rate cannot be inf: use a number from 0 to 1,000,000."),
        (("run", "service", "--grace", "nan"), "Invalid value for '--grace'"),
        (("run", "processor", "demo", "--retention", f"{'9' * 400}d"), "The --retention cannot be used: '999"),
        ((*START, "--wait", "--timeout", "9" * 400), "The --timeout cannot be used: '999"),
        (("schedule", "create", "s", "x", "--every", "9" * 400), "The --every cannot be used: '999"),
        (("run", "processor", "--log-format", "xml"), "There is no log format 'xml'."),
        (("run", "service", "--log-level", "loud"), "There is no log level 'loud'."),
        (("completion", "powershell"), "There is no completion for 'powershell'."),
    ],
)
def test_bad_usage(runner, args, message):
    result = runner.invoke(app, args)
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stdout == ""
    assert runner.invoke(app, ["wf", "list"]).exit_code == 3  # not even the streams were made


@pytest.mark.parametrize("command", ["get", "watch", "result"])
def test_unknown_workflow_exits_with_3(runner, command):
    nothing_yet = runner.invoke(app, ["wf", command, "nope"])
    assert nothing_yet.exit_code == 3
    assert nothing_yet.stderr.startswith("Error: This NATS server holds no workflows yet: the namespace 't")
    assert runner.invoke(app, ["wf", "start", "x", "--id", "there"]).exit_code == 0
    result = runner.invoke(app, ["wf", command, "nope", "--json"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["error"] == {
        "code": "not_found",
        "message": "There is no workflow nope.",
        "hint": "List them with `durablectl wf list`, or check --namespace.",
    }


def test_the_same_id_twice_changes_nothing(runner):
    first = runner.invoke(app, ["wf", "start", "x", "--id", "same", "--input", "1"])
    before = runner.invoke(app, ["wf", "get", "same", "--json"]).stdout
    second = runner.invoke(app, ["wf", "start", "y", "--id", "same", "--input", "2"])
    assert (first.exit_code, second.exit_code, second.stdout) == (0, 7, "")
    assert second.stderr.startswith("Error: A workflow with the id same exists already (x, pending).\n")
    assert runner.invoke(app, ["wf", "get", "same", "--json"]).stdout == before
    assert runner.invoke(app, ["wf", "list", "-o", "name"]).stdout == "same\n"


def test_an_input_that_the_server_cannot_take(runner):
    result = runner.invoke(app, [*START, "--id", "big", "--input", "-"], input=f'"{"x" * 1_100_000}"')
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: A record of 1,100,")
    assert "over the server's maximum payload" in result.stderr
    assert runner.invoke(app, ["wf", "get", "big"]).exit_code == 3


@pytest.mark.timing
def test_missing_server_is_reported_within_3_seconds(runner):
    began = time.monotonic()
    assert runner.invoke(app, ["wf", "list", "--nats-url", NOWHERE]).exit_code == 4
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "args",
    [
        ("wf", "list"),
        ("wf", "start", "x"),
        ("wf", "watch", "x"),
        ("run", "processor", "durablectl.demo"),
        ("run", "service", "durablectl.demo"),
    ],
)
def test_no_server(runner, args):
    result = runner.invoke(app, [*args, "--nats-url", NOWHERE])
    assert result.exit_code == 4
    assert result.stderr.endswith(
        f"Error: No NATS server answers at {NOWHERE}.\n"
        "That URL comes from flag --nats-url: check it, and whether the server runs and can be reached.\n"
    )


@pytest.fixture(scope="module")
def without_jetstream(tmp_path_factory):
    with EmbeddedServer(tmp_path_factory.mktemp("plain"), jetstream=False) as server:
        yield server.url


@pytest.mark.parametrize(
    "args",
    [
        ("wf", "list"),
        ("wf", "start", "x"),
        ("wf", "get", "x"),
        ("wf", "watch", "x"),
        ("wf", "result", "x"),
        ("wf", "stats"),
        ("processors",),
        ("run", "processor", "durablectl.demo"),
    ],
)
def test_jetstream_is_off(runner, without_jetstream, args):
    result = runner.invoke(app, [*args, "--nats-url", without_jetstream])
    assert result.exit_code == 4
    assert result.stderr.endswith(
        "Error: JetStream is not enabled on the NATS server.\n"
        "Start it with `nats-server -js`, or enable JetStream for this account.\n"
    )


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        ("processor", "broken.py", "def x(:\n", "Error: The app {path} failed to import: SyntaxError: invalid syntax"),
        ("processor", "raising.py", "1 / 0\n", "Error: The app {path} failed to import: ZeroDivisionError: division"),
        ("processor", "empty.py", "x = 1\n", "Error: The app {path} defines no workflow and no service."),
        ("service", "missing.py", None, "Error: There is no file {path}."),
    ],
)
def test_an_app_that_cannot_run(runner, tmp_path, kind, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    result = runner.invoke(app, ["run", kind, str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(message.format(path=path))
    assert "importlib" not in result.stderr


def test_an_app_with_nothing_for_this_command(runner):
    processor = runner.invoke(app, ["run", "processor", "durablectl.demo.services"])
    assert processor.exit_code == 1
    assert processor.stderr == (
        "Error: The app durablectl.demo.services defines no workflow;"
        " it defines the services HelloService, TicketService.\n"
        "Mark coroutines with @workflow. Services run with `durablectl run service`.\n"
    )
    service = runner.invoke(app, ["run", "service", "durablectl.demo.workflows"])
    assert service.exit_code == 1
    assert service.stderr.startswith("Error: The app durablectl.demo.workflows defines no service.\n")
