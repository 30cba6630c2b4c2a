"""What the commands that read import, and that parameters are converted without pydantic as Typer does it with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from durablectl.cli.lazy import LazyCommand, LazyGroup
from durablectl.cli.main import app
from helpers.imported_modules import imported_modules

PROBE = """
import json, sys
from durablectl.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
FOREIGN = {"pydantic", "fastapi", "uvicorn", "uvloop", "prometheus_client", "cronsim", "hypothesis"}
"""Packages that no list needs."""
OURS = ("durablectl.engine", "durablectl.control", "durablectl.embedded", "durablectl.client", "durablectl.demo")


def imported(environment: dict[str, str], line: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *line.split()],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def commands(modules: set[str]) -> set[str]:
    """The modules with commands among them."""
    home = "durablectl.cli.commands."
    return {module.removeprefix(home) for module in modules if module.startswith(home)}


@pytest.fixture
def started(runner) -> str:
    """The id of a workflow."""
    result = runner.invoke(app, ["wf", "start", "x", "--input", '{"a": 1}', "--id", "one"])
    assert result.exit_code == 0, result.stderr
    return "one"


@pytest.mark.smoke
@pytest.mark.parametrize(
    "line",
    [
        "wf list",
        "wf list --limit 50 --status active --status failed --handler x --since 1h -o wide",
        "wf list --json",
        "wf get {started}",
        "wf stats",
    ],
)
def test_read_commands_import_only_their_modules(environment, started, line):
    modules = imported(environment, line.format(started=started))
    assert not modules & FOREIGN - {"pydantic"}
    assert not [module for module in modules if module.startswith(OURS)]
    assert commands(modules) == {line.split()[1]}


@pytest.mark.parametrize("line", ["wf list", "wf list --limit 50 --status active --handler x", "wf get {started}"])
def test_plain_parameters_need_no_pydantic(environment, started, line):
    assert not imported(environment, line.format(started=started)) & FOREIGN


@pytest.mark.usefixtures("started")
def test_wf_list_loads_only_its_own_query_modules(environment):
    modules = imported(environment, "wf list")
    late = ("doctor_checks", "doctor", "error_clusters", "get", "stats", "state_changes", "watch")
    assert not modules & {f"durablectl.query.{module}" for module in late}
    assert not modules & {"google.protobuf.json_format", "rich.table", "rich.console"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--version", set()),
        ("--help", {"audit", "completion", "demo", "dev", "doctor", "help", "processors", "serve", "status"}),
        ("run --help", {"run_app"}),
        ("wf get --help", {"get"}),
    ],
)
def test_help_imports_only_the_shown_commands(environment, line, expected):
    assert commands(imported(environment, line)) == expected


def every_kind(
    argument: Annotated[str, typer.Argument()],
    rest: Annotated[list[str] | None, typer.Argument()] = None,
    text: str = "text",
    name: str | None = None,
    number: Annotated[int, typer.Option(min=-5, max=1000)] = 7,
    other: int | None = None,
    share: float = 0.5,
    many: Annotated[list[str] | None, typer.Option()] = None,
    flag: bool = False,
    shouted: Annotated[str | None, typer.Option(callback=lambda value: value and value.upper())] = None,
) -> None:
    typer.echo(repr((argument, rest, text, name, number, other, share, many, flag, shouted)))


def told(cls: type[typer.core.TyperCommand], line: list[str]) -> tuple[int, str]:
    tree = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    tree.command("it", cls=cls)(every_kind)
    result = CliRunner().invoke(tree, line)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["a"],
        ["a", "b", "c"],
        [""],
        ["a", "--text", "", "--name", "ä 🙂", "--shouted", "loud"],
        ["a", "--many", "1", "--many", "2"],
        ["a", "--many", ""],
        *(["a", "--number", number] for number in ("0", "-5", "-6", "1000", "1001", "+3", " 3", "3.0", "1_0", "x", "")),
        *(["a", "--other", number] for number in ("00012", "-0", "123456789012345678901234567890", "٣", "0x10", "1e3")),
        ["a", "--share", "0.25", "--flag"],
        ["a", "--share", "much"],
        ["a", "--flag=x"],
        ["a", "--number"],
    ],
)
def test_values_are_converted_as_by_typer(line):
    assert told(LazyCommand, line) == told(typer.core.TyperCommand, line)


def test_a_group_makes_each_command_once_and_knows_all_names():
    tree = typer.main.get_command(app)
    assert isinstance(tree, LazyGroup)
    workflows = tree.commands["wf"]
    assert workflows.commands["list"] is workflows.commands["list"]
    assert "nothing" not in workflows.commands
    assert {"start", "list", "get", "cancel"} <= {*workflows.commands} == {*workflows.list_commands(None)}
    assert len(workflows.commands) == len([*workflows.commands])


@pytest.mark.parametrize("args", [("wf", "list"), ("wf", "get", "x"), ("wf", "stats"), ("wf", "watch", "x")])
def test_queries_import_no_engine(runner, environment, args):
    assert runner.invoke(app, ["wf", "start", "x", "--id", "x"]).exit_code == 0
    if args[1] == "watch":
        args = (*args, "--namespace", "nowhere")
    code, modules = imported_modules(*args, env=environment)
    assert code in {0, 3}
    assert "nats" in modules
    assert not any(name.startswith(("durablectl.engine", "durablectl.control", "fastapi")) for name in modules)
