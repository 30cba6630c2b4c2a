"""The command tree: what it imports, its help, and its version."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from durablectl.cli import version
from durablectl.cli.main import app
from helpers.imported_modules import imported_modules

HEAVY = ("nats", "google.protobuf", "fastapi", "uvicorn", "uvloop", "prometheus_client")


@pytest.mark.smoke
@pytest.mark.parametrize("args", [("--help",), ("wf", "--help"), ("run", "processor", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(args):
    code, modules = imported_modules(*args)
    assert code == 0
    assert not modules & {*HEAVY}
    assert not any(name.startswith(("durablectl.storage", "durablectl.engine", "durablectl.query")) for name in modules)


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"durablectl {version()}\n")


def commands(tree, path=()):
    for name, command in getattr(tree, "commands", {}).items():
        yield (*path, name)
        yield from commands(command, (*path, name))


def test_every_command_explains_itself():
    from typer.main import get_command

    found = list(commands(get_command(app)))
    assert {("demo",), ("dev",), ("run", "processor"), ("run", "service"), ("wf", "start"), ("wf", "watch")} <= {*found}
    for path in found:
        result = CliRunner().invoke(app, [*path, "--help"])
        assert result.exit_code == 0
        assert "Usage: " in result.stdout
        explained = result.stdout.splitlines()[2].strip()
        assert explained.endswith((".", ":")) or len(explained) > 40, path


def test_help_begins_with_the_first_steps():
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:\n")[2]
    names = [line.split()[0] for line in listed.splitlines()]
    assert names[:3] == ["demo", "dev", "run"]
    assert names[-2:] == ["help", "completion"]
