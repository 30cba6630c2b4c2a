"""The scripts in completions/, in real shells on a pseudo-terminal, where Tab is pressed."""

from __future__ import annotations

import os
import re
import shutil
import sys

import pexpect
import pytest

from durablectl.cli.completion.scripts import FILES
from helpers.listed_namespace import PATIENT, filled_namespace
from helpers.paths import ROOT

COMPLETIONS = ROOT / "completions"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>(][AB0]?|\x07")
COMMANDS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
PREPARED = {
    "bash": ["bind 'set show-all-if-ambiguous on'", "bind 'set enable-bracketed-paste off'", "source {file}"],
    "zsh": [
        "unsetopt zle_bracketed_paste list_ambiguous",
        "autoload -Uz compinit",
        "compinit -u -d {directory}/dump",
        "source {file}",
    ],
    "fish": ["source {file}"],
}
SHELLS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in COMMANDS
]


@pytest.fixture(scope="module")
def filled(nats_server):
    return filled_namespace(nats_server)


@pytest.fixture
def shell(request, tmp_path, filled):
    """The shell of the parameter at its prompt, with our completions loaded."""
    program = tmp_path / "durablectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PATIENT}" "$@"\n')
    program.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NATS_URL": filled.url,
        "DURABLECTL_NAMESPACE": filled.namespace,
        "TERM": "dumb" if request.param == "zsh" else "xterm",
        "PS1": "$ ",
    }
    command, *args = COMMANDS[request.param]
    child = pexpect.spawn(command, args, env=env, cwd=tmp_path, dimensions=(60, 160), encoding="utf-8", timeout=60)
    for line in PREPARED[request.param]:
        child.sendline(line.format(file=COMPLETIONS / FILES[request.param], directory=tmp_path))
    child.sendline("echo rea''dy")
    child.expect("ready\r\n")
    yield child
    child.close(force=True)


def listed(child: pexpect.spawn, line: str, last: str) -> list[str]:
    """The words on the screen when Tab was pressed at the end of ``line``, up to the word ``last``."""
    child.send(f"{line}\t")
    child.expect(rf"(?<![\w-]){last}(?![\w-])")
    return CONTROL.sub(" ", child.before + last).split()


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("durablectl doc", "durablectl doctor"),
        ("durablectl wf list --status sus", "durablectl wf list --status suspended"),
        ("durablectl wf list --status=sus", "durablectl wf list --status=suspended"),
        ("durablectl wf get fre", "durablectl wf get fresh"),
        ("durablectl wf retry --namespace nowhere --namespace $DURABLECTL_NAMESPACE f6", "f6 "),
        ("durablectl wf why -s $NATS_URL par", "parent"),
    ],
)
def test_tab_completes_the_word(shell, filled, typed, completed):
    for name, value in (("$NATS_URL", filled.url), ("$DURABLECTL_NAMESPACE", filled.namespace)):
        typed = typed.replace(name, value)
    shell.send(f"{typed}\t")
    missing = completed.removeprefix(typed)
    shell.expect_exact(missing)


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_tab_lists_ids_newest_first(shell):
    words = listed(shell, "durablectl wf retry ", "f6")
    assert [word for word in words if re.fullmatch(r"f\d", word)] == ["f1", "f2", "f3", "f4", "f5", "f6"]


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_nothing_is_shown_when_the_server_is_away(shell):
    shell.send("durablectl wf list -s nats://127.0.0.1:1 --handler x\t")
    shell.send("yz")
    shell.expect_exact("yz")
    assert "rror" not in shell.before
