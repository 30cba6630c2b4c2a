"""`durablectl help`, guesses at what was meant, and -q and -v."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from durablectl.cli.commands.help import TOPICS, topic
from durablectl.cli.handler_notes import unknown_handler
from durablectl.cli.main import app

INTERNAL = "durablectl.query.get_workflow"


def invoke(*args, env=None):
    return CliRunner(env=env).invoke(app, args)


@pytest.fixture
def started(runner):
    """A workflow of the handler checkout, that nobody runs."""
    assert runner.invoke(app, ["wf", "start", "checkout", "--id", "order-17"]).exit_code == 0
    return runner


@pytest.mark.parametrize("words", [(), ("wf",), ("wf", "list"), ("run", "processor"), ("completion",)])
def test_help_is_the_help_of_the_command(words):
    shown = invoke("help", *words)
    assert (shown.exit_code, shown.stdout) == (0, invoke(*words, "--help").stdout)


def test_the_topics_are_listed_and_shown():
    listed = invoke("help", "topics")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [*TOPICS]
    for name in TOPICS:
        assert invoke("help", name).stdout == topic(name)
        assert all(len(line) <= 80 for line in topic(name).splitlines())


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (("wf", "lst"), "Did you mean 'list'?"),
        (("help", "wf", "lst"), "Did you mean 'list'?"),
        (("procesors",), "Did you mean 'processors'?"),
        (("help", "filter"), "Did you mean 'filters'?"),
        (("help", "doktor"), "Did you mean 'doctor'?"),
        (("wf", "list", "--status", "faild"), "Did you mean 'failed'?"),
    ],
)
def test_a_slip_of_the_finger_is_guessed_at(words, guess):
    result = invoke(*words)
    assert result.exit_code == 2
    assert guess in result.stderr


def test_empty_result_names_unknown_handler(started):
    for command in ("list", "stats", "cancel", "errors"):
        result = started.invoke(app, ["wf", command, "--handler", "chekout"])
        assert result.exit_code == 0
        assert "has the handler 'chekout'. Did you mean 'checkout'?" in result.stderr
    assert "has the handler" not in started.invoke(app, ["wf", "errors", "--handler", "checkout"]).stderr
    assert unknown_handler("x", ["a", "b"]).endswith("There are: a, b.")
    assert unknown_handler("x", []).endswith("has the handler 'x'.")


def test_quiet_leaves_the_notes_out_and_nothing_else(started):
    listed = started.invoke(app, ["wf", "list", "-q"])
    assert (listed.stdout.splitlines()[1].split("\t")[0], listed.stderr) == ("order-17", "")
    assert started.invoke(app, ["wf", "list", "--handler", "x", "--quiet"]).stderr == ""
    missing = started.invoke(app, ["wf", "get", "missing", "-q"])
    assert (missing.exit_code, missing.stderr.splitlines()[0]) == (3, "Error: There is no workflow missing.")
    assert started.invoke(app, ["wf", "list", "--handler", "x"]).stderr.startswith("No workflows.\n")


def test_verbose_prints_connection_and_requests(started, settings):
    url = settings.url.replace("//", "//someone:s3cr3t@")
    result = started.invoke(app, ["wf", "get", "order-17", "-v", "-s", url, "--password", "pa55"])
    told = result.stderr.splitlines()
    assert f"url: {settings.url} (flag --nats-url)" in told
    assert f"namespace: {settings.namespace} (environment DURABLECTL_NAMESPACE)" in told
    assert "password: given (flag --password)" in told
    assert any(line.startswith("connected to the server N") and ", version 2." in line for line in told)
    assert any(line.startswith("asked $JS.API.DIRECT.GET.KV_EXECUTION_STATE") for line in told)
    assert "s3cr3t" not in result.stderr
    assert "pa55" not in result.stderr
    assert result.stdout.startswith("Id\torder-17\n")
    as_json = started.invoke(app, ["wf", "list", "-v", "--json"])
    assert all(set(json.loads(line)) == {"note"} for line in as_json.stderr.splitlines())
    assert "asked" not in started.invoke(app, ["wf", "list"]).stderr


def test_verbose_shows_the_traceback_of_a_bug_and_of_nothing_else(started, monkeypatch):
    assert "Traceback" not in started.invoke(app, ["wf", "get", "missing", "-v"]).stderr

    async def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(INTERNAL, broken, raising=False)
    assert "Traceback" in started.invoke(app, ["wf", "get", "order-17", "-v"]).stderr
    assert "Traceback" not in started.invoke(app, ["wf", "get", "order-17"]).stderr


def test_quiet_and_verbose_contradict_each_other():
    result = invoke("wf", "list", "-q", "-v")
    assert (result.exit_code, "both were given" in result.stderr) == (2, True)
