"""One nats-server for the whole run, a namespace for each test, and durablectl as a real process."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest
from typer.testing import CliRunner

from durablectl.embedded import EmbeddedServer
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.settings import Settings
from helpers.in_process import provisioned_store
from helpers.ports import reserved_ports
from helpers.spawned import Spawner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from durablectl.storage.connection.store import Store

HTTP_PORT = "DURABLECTL_HTTP_PORT"
FOREIGN = ("NATS_", "DURABLECTL_", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")

NATS_TIMEOUT = "NATS_TIMEOUT"
SECONDS = 30
"""Within which the server answers, on a busy machine too."""

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# For fixtures that come before a test: no processor is to start a second process for the API.
os.environ |= {HTTP_PORT: "0", NATS_TIMEOUT: f"{SECONDS}s"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own settings reaches a test."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(HTTP_PORT, "0")
    monkeypatch.setenv(NATS_TIMEOUT, f"{SECONDS}s")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command that runs in this process sets levels up for all of it, and not for one test."""
    loggers = [logging.getLogger(), logging.getLogger("durablectl"), logging.getLogger("durablectl.wire")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture(autouse=True)
def own_clock() -> Iterator[None]:
    """What a test with a wrong clock has shown is no news of the next one."""
    SYSTEM_CLOCK.forget()
    yield
    SYSTEM_CLOCK.forget()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """With JetStream, the default limits, and its monitoring port open."""
    with EmbeddedServer(tmp_path_factory.mktemp("nats"), config='http: "127.0.0.1:-1"') as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"t{secrets.token_hex(3)}"


@pytest.fixture
def settings(nats_server: EmbeddedServer, namespace: str) -> Settings:
    return Settings(url=nats_server.url, namespace=namespace, timeout=SECONDS)


@pytest.fixture
def port() -> Iterator[int]:
    """One that no other socket is given during the test; a server of the test may listen on it."""
    with reserved_ports(1) as (reserved,):
        yield reserved


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with provisioned_store(settings) as opened:
        yield opened


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """By which a durablectl process finds the server and namespace of the test."""
    return {"NATS_URL": settings.url, "DURABLECTL_NAMESPACE": settings.namespace, NATS_TIMEOUT: f"{SECONDS}s"}


@pytest.fixture
def runner(environment: dict[str, str]) -> CliRunner:
    return CliRunner(env=environment)


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``durablectl ARGS`` to its end, in an empty directory; its output is captured."""

    def run(
        *args: str, input: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "durablectl", *args],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            env={**os.environ, **environment, **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def spawn(environment: dict[str, str], tmp_path: Path) -> Iterator[Spawner]:
    """Start ``durablectl ARGS`` as a leader of its own session; what still runs after the test is killed with -9."""
    spawner = Spawner(tmp_path, environment)
    yield spawner
    spawner.end()
