"""Every line with curl that README, docs and ``python -m durablectl.demo.query`` show works as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from durablectl.settings import Settings
from helpers.http_api import http_api
from helpers.paths import ROOT
from helpers.sample_stack import sample_stack

ADDRESS = "http://127.0.0.1:8080"
TOKEN = "a-long-token"  # noqa: S105  # a test's
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FITTING = {200, 202}
OTHERS = {
    "order-18": {404, 409},
    "order-19": {404, 409},
    "If-Match": {412},
    "retry": {200, 409},
    "retry?": {409},
    "restart-step": {409},
}
"""What a line holds -> what it may also come to, in the states of the test."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def lines(text):
    return re.findall(r"^(?:.*HTTP API  )?(curl .*)$", text, re.MULTILINE)


def shown():
    for path in FILES:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            yield from lines(block)


def is_stream(line):
    return "/events" in line


def ran(line, url):
    """Status and body, by the shell as a reader would; of a stream, what it begins with."""
    told = line.replace(ADDRESS, url).split("  #")[0].split(" | jq")[0]
    environment = {**os.environ, "DURABLECTL_API_TOKEN": TOKEN}
    if is_stream(line):
        return begun(re.sub(r"^curl ", "curl --include ", told), environment)
    told = re.sub(r"^curl ", "curl -w '\\\\n%{http_code}' ", told)
    done = subprocess.run(told, shell=True, env=environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S602
    assert done.returncode == 0, done
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def begun(command, environment):
    """The status of an answer that may not end, and its first line."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        head = process.stdout.readline()
        return int(head.split()[1]), head
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def settings(nats_server):
    """Of a stack where the workflows of the examples are."""
    with sample_stack(nats_server) as stack:
        for name in ("order-17", "order-20"):
            stack("wf", "start", "flaky_workflow", "-i", '"flaky"', "--id", name, "--wait")
        stack.ok("wf", "start", "async_workflow", "-i", '"user-001"', "--id", "user-1", "--wait")
        stack.ok("wf", "start", "slow_workflow", "-i", '"later"', "--delay", "1h")
        yield Settings(url=nats_server.url, namespace=stack.environment["DURABLECTL_NAMESPACE"], timeout=30)


async def test_every_line_of_the_documents_works(settings):
    async with http_api(settings) as http:
        for line in shown():
            status, body = await asyncio.to_thread(ran, line, http.url)
            others = {code for word, codes in OTHERS.items() if word in line for code in codes}
            assert status in FITTING | others, (line, status, body)
            if not is_stream(line) and "/metrics" not in line:
                json.loads(body)


async def test_every_line_of_the_tour_works(settings):
    environment = {**os.environ, "NATS_URL": settings.url}
    command = [sys.executable, "-m", "durablectl.demo.query"]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=True)
    told = lines(done.stdout)
    assert len(told) > 8
    async with http_api(settings) as http:
        for line in told:
            status, body = await asyncio.to_thread(ran, line, http.url)
            assert status in FITTING, (line, status, body)
            json.loads(body)
        newest = await http.get("/api/workflows?handler=hello_workflow&limit=1&fields=input")
        assert newest.json["workflows"] == [{"input": "Ada"}], "it starts what its Python line starts"


def test_the_lines_are_found():
    assert len(list(shown())) > 25
