"""Servers that ask who comes, ways to answer them, and the three places where an answer can stand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from durablectl.cli.main import app
from durablectl.embedded import EmbeddedServer
from durablectl.settings.contexts import KEYS
from durablectl.settings.resolution import ENVIRONMENT, FLAGS
from helpers.credential_authority import Certificates, Key, Operator, credentials
from helpers.waiting import block_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typer.testing import Result

PASSWORD = "p@ss/w,rd%21"  # noqa: S105  # all that has a meaning in a URL
TOKEN = "s3cr3t-t0ken"  # noqa: S105


@dataclass
class AuthenticatedServer:
    """A server, and the settings (fields of Settings) that it lets in; ``secrets`` are in no output."""

    server: EmbeddedServer
    settings: Mapping[str, str | bool] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def run_command(self, by: str, settings: Mapping[str, str | bool] | None = None, *args: str) -> Result:
        """A command that needs JetStream, with the settings given as ``by`` says: flag, environment or context."""
        return run(by, {"url": self.server.url, **(self.settings if settings is None else settings)}, *args)


def run(by: str, settings: Mapping[str, str | bool], *args: str, env: Mapping[str, str] | None = None) -> Result:
    command = [*(args or ("processors", "-o", "name"))]
    environment = dict(env or {})
    if by == "flag":
        command += [word for name, value in settings.items() for word in (FLAGS[name], str(value))]
    elif by == "environment":
        environment |= {ENVIRONMENT[name]: str(value) for name, value in settings.items()}
    else:
        environment["NATS_CONTEXT"] = "mine"
        write_context("mine", settings)
    return CliRunner(env=environment).invoke(app, command)


def write_context(name: str, settings: Mapping[str, str | bool]) -> Path:
    """As the NATS CLI stores it, where the environment of the test says."""
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "nats" / "context" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({KEYS[key]: value for key, value in settings.items()}))
    return path


def was_admitted(result: Result) -> None:
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert result.stderr == "No live processor. Start one with `durablectl run processor`.\n"


def wait_until_admitted(door: AuthenticatedServer) -> None:
    refusals: list[str] = []

    def is_admitted() -> bool:
        result = door.run_command("context")
        refusals.append(result.stderr)
        return result.exit_code == 0

    block_until(is_admitted, every=0.05, detail=lambda: refusals[-1])


def leaf_url(log: Path) -> str:
    """Where a server takes leaf nodes, from its log."""
    (port,) = re.findall(r"Listening for leafnode connections on 127\.0\.0\.1:(\d+)", log.read_text())
    return f"nats-leaf://127.0.0.1:{port}"


@contextlib.contextmanager
def serving(directory: Path, config: str) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(directory / "server", config=config) as server:
        yield server


@contextlib.contextmanager
def password_server(directory: Path) -> Iterator[AuthenticatedServer]:
    users = json.dumps([{"user": "ada", "password": PASSWORD}])
    with serving(directory, f"authorization {{ users: {users} }}") as server:
        yield AuthenticatedServer(server, {"user": "ada", "password": PASSWORD}, (PASSWORD,))


@contextlib.contextmanager
def token_server(directory: Path) -> Iterator[AuthenticatedServer]:
    with serving(directory, f'authorization {{ token: "{TOKEN}" }}') as server:
        yield AuthenticatedServer(server, {"token": TOKEN}, (TOKEN,))


@contextlib.contextmanager
def lone_user_server(directory: Path) -> Iterator[AuthenticatedServer]:
    """A user without a password is a token."""
    with token_server(directory) as door:
        yield AuthenticatedServer(door.server, {"user": TOKEN}, (TOKEN,))


@contextlib.contextmanager
def nkey_server(directory: Path) -> Iterator[AuthenticatedServer]:
    key = Key.make()
    (directory / "user.nk").write_text(f"{key.seed}\n")
    with serving(directory, f"authorization {{ users: [{{ nkey: {key.public} }}] }}") as server:
        yield AuthenticatedServer(server, {"nkey": str(directory / "user.nk")}, (key.seed,))


@contextlib.contextmanager
def creds_server(directory: Path) -> Iterator[AuthenticatedServer]:
    operator = Operator()
    jwt, seed = operator.user()
    (directory / "user.creds").write_text(credentials(jwt, seed))
    with serving(directory, operator.config) as server:
        yield AuthenticatedServer(server, {"creds": str(directory / "user.creds")}, (jwt, seed))


@contextlib.contextmanager
def tls_server(directory: Path) -> Iterator[AuthenticatedServer]:
    """The server wants a certificate, too."""
    authority, files = _certified(directory)
    with serving(directory, tls_config(authority)) as server:
        yield AuthenticatedServer(server, files)


def _certified(directory: Path) -> tuple[Certificates, dict[str, str | bool]]:
    authority = Certificates(directory / "tls")
    certificate, key = authority.issue("client")
    return authority, {"tls_cert": str(certificate), "tls_key": str(key), "tls_ca": str(authority.authority)}


@contextlib.contextmanager
def tls_first_server(directory: Path) -> Iterator[AuthenticatedServer]:
    """The server says nothing before the handshake."""
    authority, files = _certified(directory)
    with _ServerWithoutGreeting(directory / "server", config=tls_config(authority, "handshake_first: true")) as server:
        yield AuthenticatedServer(server, {**files, "tls_first": True})


class _ServerWithoutGreeting(EmbeddedServer):
    """Ready without a greeting."""

    def _await_ready(self, deadline: float) -> None:
        def is_ready() -> bool:
            assert self.running
            return self._read_ports()

        block_until(is_ready, deadline - time.monotonic())


def tls_config(authority: Certificates, more: str = "", *, verify: bool = True) -> str:
    certificate, key = authority.issue("server")
    lines = [f'cert_file: "{certificate}"', f'key_file: "{key}"', f'ca_file: "{authority.authority}"']
    return "tls {\n" + "\n".join([*lines, f"verify: {str(verify).lower()}", more]) + "\n}"


AUTHENTICATED_SERVERS = {
    "password": password_server,
    "token": token_server,
    "user without password": lone_user_server,
    "nkey": nkey_server,
    "creds": creds_server,
    "tls": tls_server,
}
