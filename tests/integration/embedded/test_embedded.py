"""The embedded nats-server: a real process, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import nats
import pytest

from durablectl import embedded
from durablectl.embedded import EmbeddedServer, find_server
from durablectl.errors import ConfigurationError, UsageError
from helpers.waiting import block_until


def alive(pid: int) -> bool:
    """False for a zombie too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    block_until(lambda: not alive(pid))


def test_the_wheel_brings_the_server():
    path = find_server()
    assert path.name.startswith("nats-server")
    assert "nats-server: v2" in subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def test_a_server_on_path_where_the_wheel_is_missing(monkeypatch, tmp_path):
    binary = tmp_path / "nats-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setattr(embedded, "_from_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == binary
    binary.unlink()
    with pytest.raises(ConfigurationError, match="No nats-server was found"):
        find_server()


async def test_start_restart_kill_stop_keep_port_and_data(tmp_path):
    server = EmbeddedServer(tmp_path / "data", sync="always")
    assert (server.port, server.pid, server.running) == (0, None, False)
    with server:
        port, first = server.port, server.pid
        server.start()
        assert server.pid == first, "a second start does nothing"
        assert alive(first)
        assert server.url == f"nats://127.0.0.1:{port}"
        async with await nats.connect(server.url) as client:
            await client.jetstream().add_stream(name="S", subjects=["s"])
            await client.jetstream().publish("s", b"kept")

        server.restart()
        assert (server.port, server.running) == (port, True)
        assert server.pid != first
        wait_until_gone(first)

        second = server.pid
        server.kill()
        assert (server.pid, server.running) == (None, False)
        wait_until_gone(second)
        server.start()
        assert server.port == port
        async with await nats.connect(server.url) as client:
            assert (await client.jetstream().get_msg("S", seq=1)).data == b"kept"
        third = server.pid
    wait_until_gone(third)
    server.stop()
    server.stop()


def test_embedded_server_listens_on_loopback_only(nats_server):
    socket.create_connection(("127.0.0.1", nats_server.port), timeout=2).close()
    with pytest.raises(OSError, match=r"refused|assign"):
        socket.create_connection(("127.0.0.2", nats_server.port), timeout=2)


def test_configuration_reaches_the_server(tmp_path):
    log = tmp_path / "logs.txt"
    log.write_text("earlier\n")
    extra = 'http: "127.0.0.1:-1"\nmax_payload: 4KB'
    with EmbeddedServer(tmp_path / 'ünï "code"', sync="5s", config=extra, log_file=log) as server:
        with urllib.request.urlopen(f"{server.monitor_url}/varz") as answer:  # noqa: S310  # an http URL
            state = json.load(answer)
        assert state["max_payload"] == 4096
        assert state["jetstream"]["config"]["sync_interval"] == 5_000_000_000
        assert Path(state["jetstream"]["config"]["store_dir"]).parent == tmp_path / 'ünï "code"'
    assert log.read_text().startswith("earlier\n")
    assert "Server is ready" in log.read_text()


def test_without_jetstream(tmp_path):
    with EmbeddedServer(tmp_path, jetstream=False) as server, socket.create_connection(("127.0.0.1", server.port)) as s:
        assert b'"jetstream":true' not in s.recv(4096)
    assert server.monitor_url == ""


def test_a_port_that_is_taken(tmp_path, port):
    with socket.create_server(("127.0.0.1", port)):
        server = EmbeddedServer(tmp_path, port=port)
        with pytest.raises(ConfigurationError) as caught:
            server.start()
    assert caught.value.message == f"Port {port} on 127.0.0.1 is already taken."
    assert "--nats-port" in caught.value.hint
    assert not server.running
    with server:
        assert server.port == port


def test_another_nats_server_on_the_port_is_not_taken_for_ours(nats_server, tmp_path):
    with pytest.raises(ConfigurationError, match=rf"Port {nats_server.port} on 127\.0\.0\.1 is already taken"):
        EmbeddedServer(tmp_path, port=nats_server.port).start()


def test_a_data_directory_in_use(tmp_path):
    with EmbeddedServer(tmp_path), pytest.raises(ConfigurationError, match="is in use by another running server"):
        EmbeddedServer(tmp_path).start()
    with EmbeddedServer(tmp_path) as again:
        assert again.running


def test_a_data_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="could not be started"):
        EmbeddedServer(tmp_path / "file/data").start()


def test_server_that_ends_early_reports_why(tmp_path):
    with pytest.raises(ConfigurationError, match=r"ended while starting: .*Unexpected EOF") as caught:
        EmbeddedServer(tmp_path, config="accounts {").start()
    assert "Unexpected EOF" in caught.value.hint


def test_a_server_that_is_not_ready_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_greets", lambda _: False)
    server = EmbeddedServer(tmp_path)
    with pytest.raises(ConfigurationError, match="did not become ready in time"):
        server.start(timeout=0.3)
    assert not server.running


def test_a_bad_sync_interval(tmp_path):
    with pytest.raises(UsageError, match="'sometimes'"):
        EmbeddedServer(tmp_path, sync="sometimes")


def test_stop_kills_a_server_that_does_not_listen(tmp_path):
    server = EmbeddedServer(tmp_path)
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout=0.2)
    wait_until_gone(pid)


def test_embedded_server_outlives_its_starting_thread(tmp_path):
    server = EmbeddedServer(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert server.running
    server.stop()


PARENT = """
import sys, time
from pathlib import Path
from durablectl import embedded
embedded._HAS_DEATH_SIGNAL = sys.argv[2] == "signal"
server = embedded.EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
if sys.argv[3] == "wait":
    time.sleep(60)
elif sys.argv[3] == "stop":
    server.stop()
"""


@pytest.fixture
def parent(tmp_path):
    """A process that starts a server in its own way, and the server's pid."""
    started = []

    def start(way, then):
        command = [sys.executable, "-c", PARENT, str(tmp_path), way, then]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


WAYS = [
    pytest.param("signal", marks=pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")),
    "guard",
]


@pytest.mark.parametrize("way", WAYS)
def test_embedded_server_dies_with_killed_parent(parent, way):
    process, server = parent(way, "wait")
    assert alive(server)
    process.kill()
    process.wait()
    wait_until_gone(server)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("then", ["stop", "fall off the end"])
def test_embedded_server_dies_with_ended_parent(parent, way, then):
    process, server = parent(way, then)
    assert process.wait(60) == 0
    wait_until_gone(server)


def test_ctrl_c_does_not_reach_embedded_server(parent):
    process, server = parent("signal", "wait")
    assert os.getpgid(server) != os.getpgid(process.pid)
    assert os.getsid(server) != os.getsid(process.pid)


def test_the_launcher_gives_up_when_its_parent_died_first(tmp_path):
    marker = tmp_path / "ran"
    command = [sys.executable, "-I", "-S", "-c", embedded._LAUNCHER, "1", "/bin/sh", "-c", f"touch {marker}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "the parent process is gone\n")
    assert not marker.exists()
