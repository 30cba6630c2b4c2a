"""The processes of the soak: started, killed with -9, frozen, stopped; and what they cost."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench import IMPORT_PATHS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Process(subprocess.Popen[bytes]):
    """In a session of its own; what it says goes to ``log``."""

    log: Path
    started_at: float

    def err(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Processes:
    """``durablectl`` of this checkout, all in one directory."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        own = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "DURABLECTL_"))}
        path = os.pathsep.join([*IMPORT_PATHS, *filter(None, [own.get("PYTHONPATH")])])
        self._environment = {**own, "PYTHONPATH": path, "DURABLECTL_HTTP_PORT": "0", **environment}
        self._numbers = itertools.count()
        self._started: list[Process] = []

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> Process:
        log = self._directory / f"process-{next(self._numbers)}-{args[0]}.log"
        with log.open("wb") as file:
            process = Process(
                [sys.executable, "-m", "durablectl", *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                env={**self._environment, **(env or {})},
                cwd=self._directory,
                start_new_session=True,
            )
        process.log, process.started_at = log, time.monotonic()
        self._started.append(process)
        return process

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "durablectl", *args]
        return subprocess.run(
            command, env=self._environment, cwd=self._directory, capture_output=True, text=True, check=False
        )

    def tracebacks(self) -> list[str]:
        """Logs that hold one."""
        return [f"a traceback in {p.log.name}" for p in self._started if "Traceback (most recent" in p.err()]

    def end(self) -> None:
        for process in self._started:
            process.signal_group(signal.SIGKILL)
            process.wait()


def resident(pid: int) -> int:
    """Bytes of memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Samples:
    """Figures over time, by name; ``total`` is how many seconds will be sampled."""

    def __init__(self, total: float) -> None:
        self._began = time.monotonic()
        self._total = total
        self._found: dict[str, list[tuple[float, float]]] = defaultdict(list)

    @property
    def part(self) -> float:
        """How much of the time has passed: 0 to 1, and more."""
        return (time.monotonic() - self._began) / self._total

    def add(self, name: str, figure: float) -> None:
        self._found[name].append((self.part, figure))

    def quarters(self) -> dict[str, tuple[float, float]]:
        """The medians of the second and the last quarter."""
        medians = ((name, _median(found, 0.25), _median(found, 0.75)) for name, found in self._found.items())
        return {name: (second, last) for name, second, last in medians if second is not None and last is not None}


def _median(found: list[tuple[float, float]], since: float) -> float | None:
    inside = [figure for part, figure in found if since <= part < since + 0.25]
    return statistics.median(inside) if inside else None
