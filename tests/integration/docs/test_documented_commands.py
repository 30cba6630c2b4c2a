"""Every command that README, docs and the help show runs as it stands there, or at least parses."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from durablectl.cli.commands.help import TOPICS, topic
from durablectl.cli.main import app
from helpers.paths import ROOT
from helpers.sample_stack import sample_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "nats://127.0.0.1:4222"
STANDS_FOR = {"ID": "order-17", "OTHER": "order-18", "AWAKEABLE_ID": "order-17.approval"}
ONLY_PARSED = {
    "demo": "test_demo.py runs it",
    "dev": "stays until Ctrl-C",
    "serve-api": "stays until Ctrl-C",
    "run processor": "stays until Ctrl-C",
    "run service": "stays until Ctrl-C",
    "status --watch": "stays until Ctrl-C",
    "wf tail": "stays until Ctrl-C",
    "wf watch --": "stays until Ctrl-C",
    "wf list --context": "names a context that only its user has",
}
"""How a command begins that is not run -> why."""
OUTCOMES = {0, 3, 5, 7, 10}
"""What a command may come to that is right, on a stack where the workflows of the examples have failed."""


def commands(line: str) -> Iterator[list[str]]:
    """The words of each durablectl command on a line for a shell, without ``durablectl`` and variables."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.wordchars += "@:,[]{}^%"
    words: list[str] = []
    for word in [*lexer, "|"]:
        if set(word) <= set("|&;>"):
            if "durablectl" in words:
                yield words[words.index("durablectl") + 1 :]
            words = []
        else:
            words.append(word)


def of_files() -> Iterator[tuple[str, str]]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            yield from ((path.name, line) for line in block.splitlines())


def of_topics() -> Iterator[tuple[str, str]]:
    for name in TOPICS:
        yield from ((f"help {name}", line.strip()) for line in topic(name).splitlines() if line.startswith("  "))


def of_help(tree: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for name, command in getattr(tree or get_command(app), "commands", {}).items():
        for example in re.findall(r"^\s*Example: (.*)$", command.help or "", re.MULTILINE):
            yield " ".join((*path, name, "--help")), example
        if hasattr(command, "commands"):
            yield from of_help(command, (*path, name))


SHOWN = [
    (where, words)
    for where, line in [*of_files(), *of_topics(), *of_help()]
    if re.search(r"(^|[ |])durablectl ", line)
    for words in commands(line)
]


@pytest.fixture(scope="module")
def stack(nats_server):
    with sample_stack(nats_server) as running:
        running.server_url = nats_server.url
        running.ok("wf", "start", "hello_workflow", "-i", '"x"', "--id", "report-1", "--wait")
        running.ok("schedule", "create", "report", "hello_workflow", "--every", "1h")
        yield running


def have_failed(stack, invocation_id):
    """Whatever the command before did with it, paused or deleted it say: it is there, and has failed."""
    shown = stack("wf", "get", invocation_id, "--json")
    view = json.loads(shown.stdout) if shown.exit_code == 0 else None
    if view and view["handler"] == "flaky_workflow" and view["status"] == "failed":
        return
    if view:
        stack("wf", "cancel", invocation_id, "--wait")
        stack.ok("wf", "delete", invocation_id, "--yes")
    failed = stack("wf", "start", "flaky_workflow", "-i", '"flaky"', "--id", invocation_id, "--wait")
    assert failed.exit_code == 10, failed.stderr


def test_the_places_are_found():
    assert {where.split()[0] for where, _ in SHOWN} >= {"README.md", "json.md", "help", "wf", "run", "schedule"}
    assert ["wf", "list", "--status", "failed", "-o", "name"] in [words for _, words in SHOWN]
    assert ["wf", "retry", "-"] in [words for _, words in SHOWN]


@pytest.mark.parametrize("words", [pytest.param(words, id=f"{where}: {shlex.join(words)}") for where, words in SHOWN])
def test_every_command_runs(stack, words):
    words = [STANDS_FOR.get(word, stack.server_url if word == URL else word) for word in words]
    if next((why for begins, why in ONLY_PARSED.items() if shlex.join(words).startswith(begins)), ""):
        parse(words)
        return
    for invocation_id in ("order-17", "order-18"):
        have_failed(stack, invocation_id)
    if "start" in words and "--wait" in words:  # for a handler that nobody runs
        words += ["--timeout", "1s"]
    result = stack(*words, input="order-17\n" if "-" in words else None)
    understood = result.exit_code == 2 and re.search("Add --yes to do it|order-17 has no step 2", result.stderr)
    assert understood or result.exit_code in (OUTCOMES | {1} if words[0] in {"doctor", "status"} else OUTCOMES), (
        result.stderr
    )
    for job_id in re.findall(r"job-\w+", result.stderr if "--background" in words else ""):
        stack.ok("jobs", "watch", job_id)


def parse(words: list[str]) -> None:
    """Raises what Typer raises for a command line that it does not understand."""
    context = get_command(app).make_context("durablectl", words)
    while rest := [*context._protected_args, *context.args]:
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def test_every_command_has_an_example():
    def leaves(tree, path=()):
        for name, command in tree.commands.items():
            yield from leaves(command, (*path, name)) if hasattr(command, "commands") else [(*path, name)]

    with_example = {where.removesuffix(" --help") for where, _ in of_help()}
    assert {" ".join(path) for path in leaves(get_command(app))} - with_example == set()


@pytest.mark.parametrize(
    "words", [["wf", "lst"], ["wf", "list", "--colour"], ["wf", "get"], ["run", "processor", "-x"]]
)
def test_unparsable_documented_command_is_found(words):
    with pytest.raises(Exception, match=r"No such|Missing"):
        parse(words)
