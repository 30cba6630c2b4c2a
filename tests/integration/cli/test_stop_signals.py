"""A stop that an operator asks for is a stop, whether or not the NATS server can be reached."""

from __future__ import annotations

import json
import os
import signal

import pytest

from durablectl.cli.stop_signals import stop_signals
from durablectl.embedded import EmbeddedServer
from durablectl.errors import ConnectionFailedError
from helpers.waiting import block_until

APP = """
import asyncio, os
from durablectl import workflow

async def nap():
    await asyncio.sleep(0 if os.environ.get("RESTED") else 3600)

@workflow
async def napping(ctx):
    await ctx.step(nap)
"""


async def test_connection_failure_after_stop_signal_is_only_logged(caplog):
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        raise ConnectionFailedError("The connection is gone.")
    assert caplog.messages == ["Stopped without the NATS server: The connection is gone."]


async def test_connection_failure_before_any_stop_signal_is_raised():
    with pytest.raises(ConnectionFailedError), stop_signals():
        raise ConnectionFailedError("The connection is gone.")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processor_stopped_during_outage_exits_0_and_others_take_over(spawn, cli, tmp_path, number):
    (tmp_path / "app.py").write_text(APP)
    with EmbeddedServer(tmp_path / "nats", sync="always") as server:
        environment = {"NATS_URL": server.url}
        first = spawn("run", "processor", "app.py", "--grace", "0.2", "--ack-wait", "3600", env=environment)
        started = cli("wf", "start", "napping", "--id", "nap", env=environment)
        assert started.returncode == 0, started.stderr
        block_until(lambda: _status(cli, environment) == "running", 60, 0.05, first.err)
        server.kill()
        block_until(lambda: "connection to the NATS server was lost" in first.err(), 60, 0.05, first.err)
        first.send_signal(number)
        assert first.wait(60) == 0, first.err()
        assert "The NATS server is out of reach: 1 workflows may not have been handed back." in first.err()
        server.start()
        second = spawn("run", "processor", "app.py", env={**environment, "RESTED": "1"})
        block_until(lambda: _status(cli, environment) == "completed", 60, 0.05, second.err)


def _status(cli, environment):
    done = cli("wf", "get", "nap", "--json", env=environment)
    return json.loads(done.stdout)["status"] if done.returncode == 0 else done.stderr
