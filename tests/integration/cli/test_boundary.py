"""Errors, exit codes, signals, pipes and shared options, through a small tree of commands (boundary_app.py)."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boundary_app import app
from durablectl.cli.render.formatting import printable
from helpers.paths import APPS
from helpers.waiting import block_until

SCRIPT = [sys.executable, str(APPS / "boundary_app.py")]


@pytest.fixture
def invoke():
    return lambda *args, **kwargs: CliRunner().invoke(app, list(args), **kwargs)


BUG = "This is a bug in durablectl. Run it again with DURABLECTL_DEBUG=1 for the traceback."
CASES = [
    ("user", 3, "not_found", "There is no workflow 'x'.", "See `durablectl wf list`."),
    ("group", 7, "invalid_state", "It has ended.", None),
    ("file", 1, "os_error", "No such file or directory: /nowhere/at/all.", None),
    ("cancelled", 1, "internal", "Unexpected CancelledError", BUG),
    ("escape", 5, "timed_out", "\x1b[2Jgone\x07", None),
    (
        "bug",
        1,
        "internal",
        "Unexpected ZeroDivisionError: division by zero",
        BUG,
    ),
    (
        "connection",
        1,
        "internal",
        "Unexpected BrokenPipeError: [Errno 32] Broken pipe",
        BUG,
    ),
]


@pytest.mark.parametrize(("kind", "code", "name", "message", "hint"), CASES)
def test_an_error_is_a_sentence_and_an_exit_code(invoke, kind, code, name, message, hint):
    result = invoke("wf", "fail", kind)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == f"Error: {printable(message)}\n" + (f"{hint}\n" if hint else "")
    for flags in (["--json"], ["-o", "json"], ["-ojsonl"], ["--output=json"]):
        result = invoke("wf", "fail", kind, *flags)
        assert (result.exit_code, result.stdout) == (code, "")
        assert json.loads(result.stderr) == {"error": {"code": name, "message": message, "hint": hint}}
        assert result.stderr.count("\n") == 1


def test_the_console_script_does_the_same():
    ended = subprocess.run([*SCRIPT, "wf", "fail", "user"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == "Error: There is no workflow 'x'.\nSee `durablectl wf list`.\n"


def test_traceback_is_shown_on_request_only(invoke):
    assert "Traceback" not in invoke("wf", "fail", "bug").stderr
    result = invoke("wf", "fail", "bug", env={"DURABLECTL_DEBUG": "1"})
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.count("Error: Unexpected ZeroDivisionError") == 1


@pytest.mark.parametrize("kind", ["interrupt", "abort"])
def test_interrupted(invoke, kind):
    result = invoke("wf", "fail", kind)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")
    assert json.loads(invoke("wf", "fail", kind, "--json").stderr)["error"]["code"] == "interrupted"


def test_exit_codes_of_the_commands_own(invoke):
    assert invoke("wf", "fail", "exit").exit_code == 11
    assert invoke("wf", "own").exit_code == 10
    assert invoke("wf", "fail", "nothing").exit_code == 0


USAGE = [
    (["wf", "show"], "Missing argument", "wf show"),
    (["wf", "show", "a", "--limit", "x"], "Invalid value for '--limit': ", "wf show"),
    (["wf", "show", "a", "--nonsense"], "No such option: --nonsense", "wf show"),
    (["wf", "shwo"], "No such command 'shwo'. Did you mean 'show'?", "wf"),
    (["--nonsense"], "No such option: --nonsense", ""),
]


@pytest.mark.parametrize(("args", "message", "command"), USAGE)
def test_usage_errors(invoke, args, message, command):
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert f"{command} --help'." in result.stderr
    result = invoke(args[0], *args[1:], "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["code"]) == (2, "usage")
    assert error["message"].startswith(message)


def test_no_command_shows_the_help(invoke):
    for args in ([], ["wf"]):
        result = invoke(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Commands:" in result.stderr


def test_a_full_disk_is_a_sentence():
    with Path("/dev/full").open("w") as full:
        command = [*SCRIPT, "wf", "flood-json"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "Error: No space left on device.\n")


def test_closed_streams():
    shell = f"{sys.executable} {SCRIPT[1]} wf fail user --json >&- 2>&-"
    assert subprocess.run(["bash", "-c", shell], check=False).returncode == 3


@pytest.mark.parametrize("command", ["flood", "flood-json"])
def test_a_closed_pipe_ends_quietly(command):
    shell = f"{sys.executable} {SCRIPT[1]} wf {command} | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    assert ended.returncode == 141, "as the shell reports of any program that wrote to a closed pipe"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_command_clean_up(spawn, signum, code):
    process = spawn("wf", "wait", command=SCRIPT)
    block_until(lambda: "waiting" in process.out())
    process.send_signal(signum)
    assert process.wait(60) == code
    assert (process.out(), process.err()) == ("waiting\ncleaned up\n", "")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_second_signal_ends_command_at_once(spawn, signum, code):
    process = spawn("wf", "wait", "--stubborn", command=SCRIPT)
    block_until(lambda: "waiting" in process.out())
    process.send_signal(signum)
    block_until(lambda: "cleaned up" in process.out())
    process.send_signal(signum)
    assert process.wait(60) == code
    assert "Traceback" not in process.err()


def test_uvloop_is_loaded_only_on_request():
    ended = subprocess.run([*SCRIPT, "wf", "loop"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("uvloop")
    probe = "import sys, boundary_app; print([m for m in sys.modules if m.partition('.')[0] in sys.argv[1:]])"
    heavy = ["uvloop", "nats", "google", "fastapi", "uvicorn", "rich"]
    ended = subprocess.run([sys.executable, "-c", probe, *heavy], cwd=APPS, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def on_a_terminal(*args, **env):
    """What a terminal of 80 columns receives, and the exit code."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*SCRIPT, *args], {**os.environ, "COLUMNS": "80", **env})  # noqa: S606
    received = b""
    try:
        while chunk := os.read(descriptor, 65536):
            received += chunk
    except OSError:  # how Linux says end of file here
        pass
    os.close(descriptor)
    return received.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_on_a_terminal():
    text, code = on_a_terminal("wf", "fail", "user")
    assert (text, code) == (
        "\x1b[1;31mError:\x1b[0m There is no workflow 'x'.\r\nSee `durablectl wf list`.\r\n",
        3,
    )
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "0"}):
        assert "\x1b" not in on_a_terminal("wf", "fail", "user", **env)[0], env
    assert "╭" in on_a_terminal("wf", "--help")[0]
    assert "╭" not in on_a_terminal("wf", "--help", TERM="dumb")[0]
    shown = on_a_terminal("wf", "show", "x")[0]
    assert json.loads(shown)["decorated"] is True
    assert json.loads(on_a_terminal("wf", "show", "x", TERM="dumb")[0])["decorated"] is False
