"""Ctrl-C at any moment of a command's start ends it with 130 and without a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The import hook sends the signal to the process itself when a module of this name is imported.
INTERRUPTED_AT = """
import importlib.abc, os, signal, sys
class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
        return None
from durablectl.__main__ import main
sys.meta_path.insert(0, Interrupting())
sys.argv = ["durablectl", *{arguments!r}]
main()
"""


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "module",
    [
        "typer",
        "durablectl.cli.main",
        "durablectl.cli.boundary",
        "durablectl.cli.commands.list",
        "durablectl.storage.connection.store",
        "nats.aio.client",
    ],
)
def test_interrupt_during_an_import_prints_no_traceback(module, environment):
    code = INTERRUPTED_AT.format(module=module, arguments=["wf", "list"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


def test_interrupt_is_ignored_where_the_parent_ignores_it(environment):
    code = INTERRUPTED_AT.format(module="durablectl.cli.main", arguments=["--version"])
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{code}"
    done = run(code, environment)
    assert (done.returncode, done.stdout.split()[0]) == (0, "durablectl")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list"], "`durablectl wf list`"),
        (["lst"], "`durablectl wf list`"),
        (["create"], "`durablectl schedule create`"),
        (["wf", "processors"], "`durablectl processors`"),
        (["wf", "lst"], "'list'"),
    ],
)
def test_command_of_another_group_is_suggested(cli, arguments, told):
    done = cli(*arguments)
    assert done.returncode == 2
    assert f"Did you mean {told}" in done.stderr
