"""The sample app as real processes, for tests of commands that need something to look at."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from durablectl.cli.main import app
from helpers.gates import APP
from helpers.waiting import block_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

    from durablectl.embedded import EmbeddedServer
    from helpers.gates import Gates

PROGRAM = [sys.executable, "-m", "durablectl"]


class SampleStack:
    """Runs commands in process against the namespace of the stack."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._runner = CliRunner(env=environment)

    def __call__(self, *args: str, input: str | None = None) -> Result:
        return self._runner.invoke(app, args, input=input)

    def ok(self, *args: str, input: str | None = None) -> str:
        result = self(*args, input=input)
        assert result.exit_code == 0, result.stderr
        return result.stdout


@contextlib.contextmanager
def sample_stack(server: EmbeddedServer, gates: Gates | None = None) -> Iterator[SampleStack]:
    """The sample app on the server. With ``gates`` its processor runs the workflow ``gated``, too."""
    environment = {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": f"s{secrets.token_hex(3)}", "NATS_TIMEOUT": "30s"}
    everything = {**os.environ, **environment, **(gates.environment if gates else {})}
    stack = SampleStack(environment)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for kind in ("processor", "service"):
            apps = ["durablectl.demo", *([APP] if gates and kind == "processor" else [])]
            command = [*PROGRAM, "run", kind, *apps, "--log-level", "error"]
            started.append(subprocess.Popen(command, env=everything, stdin=subprocess.DEVNULL))
        block_until(lambda: stack("processors", "-o", "name").stdout, 60, 0.05)
        yield stack
    finally:
        for process in started:
            process.terminate()
        codes = [process.wait(60) for process in started]
    assert codes == [0, 0]
