"""The options that commands share, and what they print with, through the commands of boundary_app.py."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from boundary_app import app
from durablectl.cli.terminal.output import Output, OutputFormat, print_json, stdout_console, wants_json


@pytest.fixture
def invoke():
    return lambda *args, **kwargs: CliRunner().invoke(app, list(args), **kwargs)


def test_help_off_a_terminal_is_plain(invoke):
    result = invoke("wf", "show", "--help")
    assert result.exit_code == 0
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    for flag in ("-s, --nats-url", "--context", "--creds", "--nkey", "--user", "--password", "--token", "--tlscert"):
        assert flag in result.stdout
    for flag in ("--tlskey", "--tlsca", "--namespace", "--timeout", "-o, --output", "--json", "NATS_URL"):
        assert flag in result.stdout


def test_connection_flags_become_settings(invoke, tmp_path):
    args = ["-s", "nats://a:1", "--namespace", "ns", "--timeout", "2s", "--token", "s3cr3t"]
    result = invoke("wf", "show", "x", "--limit", "7", *args, "--json")
    shown = json.loads(result.stdout)
    assert shown == {
        "name": "x",
        "limit": 7,
        "settings": "Settings(url='nats://a:1', timeout=2.0, namespace='ns')",
        "token": "s3cr3t",
        "format": "json",
        "decorated": False,
    }
    result = invoke("wf", "show", "x", env={"NATS_URL": "nats://b:2"})
    assert "nats://b:2" in json.loads(result.stdout)["settings"]
    result = invoke("wf", "show", "x", "--creds", str(tmp_path / "none"))
    assert (result.exit_code, "(flag --creds) does not exist" in result.stderr) == (2, True)
    result = invoke("wf", "show", "x", "--context", "none")
    assert (result.exit_code, "nats/context/none.json" in result.stderr) == (1, True)


def test_warnings_go_to_standard_error(invoke, tmp_path):
    file = tmp_path / "prod.json"
    file.write_text('{"url": "nats://prod:1", "token": "s3cr3t"}')
    args = ["wf", "show", "x", "--context", str(file), "-s", "nats://a:1"]
    sentence = "The URL is that of flag --nats-url, but the context 'prod' still provides token."
    assert invoke(*args).stderr == f"Warning: {sentence}\n"
    assert json.loads(invoke(*args, "--json").stderr) == {"warning": {"message": sentence}}


def test_a_flag_that_the_command_has_itself(invoke):
    result = invoke("wf", "own", "--timeout", "3", env={"NATS_TIMEOUT": "4s"})
    assert result.stdout == '{"timeout":"3","settings":4.0}\n'


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["wf", "show", "x", "--json", "-o", "table"], "--json means -o json, but -o table was given too."),
        (["wf", "show", "x", "-o", "yaml"], "This command has no output format 'yaml'."),
        (["wf", "own", "-o", "table"], "This command has no output format 'table'."),
    ],
)
def test_formats_that_do_not_fit(invoke, args, message):
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_formats(invoke):
    assert json.loads(invoke("wf", "show", "x").stdout)["format"] == "table"
    assert json.loads(invoke("wf", "show", "x", "--json", "-o", "json").stdout)["format"] == "json"
    assert invoke("wf", "show", "x", "-o", "jsonl").stdout.count("\n") == 1
    assert invoke("wf", "own").stdout.count("\n") == 1, "the first of its formats is the default"


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["wf", "--json"], True),
        (["wf", "-o", "jsonl"], True),
        (["wf", "-o", "table"], False),
        (["wf", "--", "--json"], False),
        (["wf", "json"], False),
        (["-o"], False),
    ],
)
def test_json_is_known_before_parsing(args, answer):
    assert wants_json(args) is answer


@pytest.mark.parametrize(
    ("encoding", "value", "written"),
    [
        ("utf-8", "é\n", '"é\\n"'),
        ("ascii", "é", '"\\u00e9"'),
        ("utf-8", "\ud800", '"\\ud800"'),
    ],
)
def test_json_that_the_stream_cannot_encode(tmp_path, encoding, value, written):
    with (tmp_path / "out").open("w", encoding=encoding) as file:
        print_json(value, file)
    assert (tmp_path / "out").read_text(encoding=encoding) == f"{written}\n"


def test_colour_off_a_terminal_when_forced(invoke):
    assert invoke("wf", "fail", "user", env={"FORCE_COLOR": "1"}).stderr.startswith("\x1b[1;31mError:\x1b[0m ")
    both = invoke("wf", "fail", "user", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stderr
    assert "\x1b" not in both


def test_console_prints_data_unchanged(capsys, monkeypatch):
    line = "[bold]not markup[/bold] :smile: 12345 " + "x" * 500
    stdout_console().print(line)
    assert capsys.readouterr().out == f"{line}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = stdout_console()
    assert (console.is_terminal, console.is_interactive) == (True, False)
    console.print("red", style="red")
    assert capsys.readouterr().out == "\x1b[31mred\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    stdout_console(width=20).print("red", style="bold red")
    assert capsys.readouterr().out == "red\n"


def test_output_knows_json():
    assert [f for f in OutputFormat if Output(f, decorated=False).is_json] == ["json", "jsonl"]
