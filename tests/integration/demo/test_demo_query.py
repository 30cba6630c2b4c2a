"""`python -m durablectl.demo.query`: it runs by itself, leaves nothing behind, and every line that it prints works."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from durablectl import Client
from durablectl.cli.main import app
from durablectl.demo import HelloService, async_workflow, flaky_workflow, greet_many, hello_workflow
from durablectl.demo.query import API, tour
from durablectl.storage.connection.store import open_store
from helpers.in_process import hosted_services, running_processor
from helpers.process_list import wait_until_no_process_names

COMMAND = [sys.executable, "-m", "durablectl.demo.query"]
STARTED = ["hello-ada", "hello-grace", "user-1", "team", "order", "later"]
PARAMETERS = {"status", "handler", "partition_key", "since", "until", "limit", "offset", "cursor"}


class Asked(NamedTuple):
    """A call as it is printed, and its rows."""

    python: str
    cli: list[str]
    http: list[str]
    rows: list[list[str]]


def parsed(output: str) -> list[Asked]:
    asked = []
    for line in output.splitlines():
        kind, _, text = line.strip().partition("  ")
        if kind == "Python":
            asked.append(Asked(text.strip(), [], [], []))
        elif kind == "CLI":
            asked[-1].cli.extend(shlex.split(text))
        elif kind == "HTTP API":
            asked[-1].http.extend(shlex.split(text))
        elif line.startswith("    "):
            asked[-1].rows.append(line.split())
    return asked


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary directories are made."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.smoke
def test_demo_query_answers_every_question_and_cleans_up(scratch):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    by_call = {asked.python: asked for asked in parsed(done.stdout)}
    assert len(by_call) == 12
    rows = {call.removeprefix("await client."): asked.rows for call, asked in by_call.items()}
    assert [row[0] for row in rows['start("hello_workflow", "Ada")']] == STARTED
    assert rows['get_workflow("user-1")'][0] == ["user-1", "async_workflow", "completed"]
    assert [row[:2] for row in rows['get_workflow("user-1")'][1:]] == [["step", str(number)] for number in range(3)]
    assert rows["list_workflows()"][0][0] == "later"
    assert {row[0] for row in rows["list_workflows()"]} == {*STARTED, "6"}
    assert rows['list_workflows(status=["failed", "cancelled"])'][0][:3] == ["order", "flaky_workflow", "failed"]
    assert rows['list_workflows(status="active")'] == [["later", "hello_workflow", "pending"], ["1", "of", "1"]]
    assert rows['list_workflows(partition_key="user-001")'][-1] == ["1", "of", "1"]
    ids = [row[0] for row in rows["list_workflows()"][:-1]]
    assert [row[0] for row in rows["list_workflows(limit=4)"]] == [*ids[:4], "4"]
    assert [row[0] for row in rows["list_workflows(limit=4, cursor=page.next_cursor)"]] == [*ids[4:], "2"]
    assert rows['count_workflows(status="completed")'] == [["4"]]
    assert ["all", "6"] in rows["get_workflow_stats()"]
    assert ["hello_workflow", "2", "completed,", "1", "pending"] in rows["get_workflow_stats()"]
    wait_until_no_process_names(scratch)
    assert not list(scratch.iterdir())


async def streams(settings) -> list[str]:
    async with open_store(settings) as store:
        return (await store.requests.call(f"{store.api}.STREAM.NAMES"))["streams"] or []


async def test_demo_query_on_existing_server_cleans_up(settings, scratch):
    before = await streams(settings)
    done = await asyncio.to_thread(run, NATS_URL=settings.url, DURABLECTL_NAMESPACE=settings.namespace)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"On {settings.url}, in the namespace demo-")
    assert await streams(settings) == before
    assert not list(scratch.iterdir())


def test_demo_query_without_server_reports_it():
    done = run(NATS_URL="nats://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("Error: No NATS server answers at nats://127.0.0.1:1.\n")


async def test_every_line_works(settings, runner, capsys):
    handlers = [hello_workflow, async_workflow, greet_many, flaky_workflow]
    async with hosted_services(settings, HelloService), running_processor(settings, *handlers):
        async with Client(url=settings.url, namespace=settings.namespace) as client:
            await tour(client)
        start, *others = parsed(capsys.readouterr().out)
        for asked in [*others, start]:
            await check_cli(runner, asked)
            if asked.http:
                check_http(asked)


async def check_cli(runner, asked: Asked) -> None:
    program, group, verb, *rest = asked.cli
    assert (program, group) == ("durablectl", "wf")
    done = await asyncio.to_thread(runner.invoke, app, [group, verb, *rest])
    assert done.exit_code == 0, done.stderr
    assert done.stdout
    if verb == "list" and "--count" not in rest:
        done = await asyncio.to_thread(runner.invoke, app, [group, verb, *rest, "-o", "name"])
        *rows, (shown, _, total) = asked.rows
        assert done.stdout.split() == [row[0] for row in rows]
        done = await asyncio.to_thread(runner.invoke, app, [group, verb, *rest, "--json"])
        page = json.loads(done.stdout)
        assert (len(page["workflows"]), page["total"]) == (int(shown), int(total))
    elif verb == "list":
        assert done.stdout.split() == asked.rows[0]


def check_http(asked: Asked) -> None:
    program, silent, *words = asked.http
    assert (program, silent) == ("curl", "-s")
    if "--json" in words:
        assert words[:2] == [f"{API}/{asked.cli[3]}/invoke", "--json"]
        assert json.loads(words[2]) == json.loads(asked.cli[5])
        return
    assert words[0].startswith(API)
    url = urlsplit(words[0])
    assert set(parse_qs(url.query, strict_parsing=bool(url.query))) <= PARAMETERS
    assert words[1:] in ([], ["|", "jq", ".total"])
