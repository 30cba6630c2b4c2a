"""The HTTP API beside a processor: a process of its own, that is there as long as the processor is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.dev_stack import starter
from helpers.http_api import Http
from helpers.waiting import wait_until

TOKEN = "correct-horse-battery"  # noqa: S105


def children(process) -> list[int]:
    """Of a process, by their ids; zombies aside."""
    command = ["ps", "-o", "pid=,stat=", "--ppid", str(process.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return [int(pid) for pid, state in zip(listed[::2], listed[1::2], strict=True) if not state.startswith("Z")]


def told(pid: int, place: str) -> str:
    """What every user, or the same one, can read of a process."""
    return Path(f"/proc/{pid}/{place}").read_text()


def exists(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def beside(spawn, port):
    """Starts a processor with an API that answers; the process, and what asks it."""

    async def start(*options, env=None, headers=None):
        process = spawn("run", "processor", "durablectl.demo", "--http-port", str(port), *options, env=env)
        await wait_until(lambda: "takes commands for" in process.err())
        http = Http(f"http://127.0.0.1:{port}", headers)
        assert (await http.get("/health")).status == 200
        return process, http

    return start


async def test_processor_serves_http_api_with_its_metrics(beside):
    process, http = await beside("--max-concurrent", "7")
    assert f"The HTTP API listens on {http.url}." in process.err()
    (child,) = children(process)
    assert os.getpriority(os.PRIO_PROCESS, child) > os.getpriority(os.PRIO_PROCESS, process.pid)
    await http.post("/api/workflows/hello_workflow/invoke?id=one", "user-001")
    await wait_until(lambda: counted(http, 'durablectl_workflows_started_total{handler="hello_workflow"} 1.0'))
    text = (await http.get("/metrics")).body.decode()
    assert "\ndurablectl_slots 7.0\n" in text
    assert 'durablectl_http_requests_total{method="GET",route="/health",status="200"}' in text
    assert text.count("# TYPE process_resident_memory_bytes") == 1
    assert len({line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}) == text.count("# TYPE")


async def counted(http, line):
    return line in (await http.get("/metrics")).body.decode()


async def test_http_api_process_is_restarted_when_it_dies(beside):
    process, http = await beside()
    (first,) = children(process)
    os.kill(first, signal.SIGKILL)
    assert (await http.get("/health")).status == 200
    (second,) = children(process)
    assert second != first
    assert "The process of the HTTP API ended (-9); it is started again in 0.5 s." in process.err()


async def test_http_api_process_ends_with_killed_processor(beside):
    process, http = await beside()
    (child,) = children(process)
    process.kill()
    process.wait()
    await wait_until(lambda: not exists(child))
    with pytest.raises(ConnectionRefusedError):
        await http.get("/health")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_both(beside, number):
    process, _ = await beside("--grace", "1")
    (child,) = children(process)
    process.send_signal(number)
    assert await wait_until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert not exists(child)
    assert "is started again" not in process.err()


async def test_port_in_use_is_reported_and_processor_runs(spawn, cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = spawn("run", "processor", "durablectl.demo.workflows", "--http-port", str(port))
        await wait_until(lambda: "takes commands for" in process.err())
    said = f"The HTTP API cannot listen on 127.0.0.1:{port}: address already in use. Workflows are executed without it."
    assert said in process.err()
    assert not children(process)
    started = cli("wf", "start", "slow_workflow", "--input", '"x"')
    assert started.returncode == 0, started.stderr


async def test_port_0_disables_the_http_api(spawn):
    process = spawn("run", "processor", "durablectl.demo", "--http-port", "0", env={"DURABLECTL_HTTP_PORT": "1"})
    await wait_until(lambda: "takes commands for" in process.err())
    assert "HTTP" not in process.err()
    assert not children(process)


async def test_http_api_requires_token_hidden_from_command_lines(beside, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    process, http = await beside("--api-token-file", str(file), "--read-only", headers=headers)
    assert (await http.get("/metrics", {"Authorization": ""})).status == 401
    assert (await http.get("/metrics")).status == 200
    assert (await http.post("/api/workflows/hello_workflow/invoke", "x")).status == 403
    (child,) = children(process)
    assert not [place for place in ("cmdline", "environ") if TOKEN in told(child, place)]


@pytest.mark.parametrize(
    ("options", "env", "code", "said"),
    [
        (
            ("--http-host", "0.0.0.0"),  # noqa: S104
            {"DURABLECTL_HTTP_PORT": "9"},
            2,
            "Without a token, everybody who can reach",
        ),
        (("--tls-cert", "missing.pem", "--tls-key", "k.pem"), {"DURABLECTL_HTTP_PORT": "9"}, 1, "The TLS files cannot"),
        ((), {"DURABLECTL_HTTP_PORT": "http"}, 2, "DURABLECTL_HTTP_PORT=http is no port."),
    ],
)
def test_invalid_http_options_are_refused_at_start(cli, options, env, code, said):
    done = cli("run", "processor", "durablectl.demo", *options, env=env)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


@contextmanager
def stopped(dev):
    try:
        yield dev
    finally:
        assert dev.stop() == 0


async def test_dev_serves_the_http_api_and_prints_its_url(spawn, cli, tmp_path, port):
    with stopped(starter(spawn, cli, tmp_path)("--http-port", str(port))) as dev:
        assert dev.about["http_url"] == f"http://127.0.0.1:{port}"
        http = Http(dev.about["http_url"])
        answer = await http.post("/api/workflows/slow_workflow/invoke?id=one", "x")
        assert answer.status == 202
        assert json.loads((await http.get("/api/workflows/one")).body)["invocation_id"] == "one"
    with pytest.raises(ConnectionRefusedError):
        await http.get("/health")
