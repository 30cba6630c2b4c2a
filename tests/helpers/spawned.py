"""durablectl as a process in a session of its own, with its output in two files."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from helpers.waiting import block_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Spawned(subprocess.Popen[str]):
    """A process that never waits for a reader of its output."""

    stdout_path: Path
    stderr_path: Path

    def interrupt(self) -> None:
        self.send_signal(signal.SIGINT)

    def out(self) -> str:
        return self.stdout_path.read_text(encoding="utf-8", errors="replace")

    def err(self) -> str:
        return self.stderr_path.read_text(encoding="utf-8", errors="replace")

    def wait_for_output(self, text: str, timeout: float = 60) -> None:
        """Wait until the process has printed this; fail when it ends before."""

        def has_printed() -> bool:
            ended = self.poll() is not None
            printed = text in self.out()
            assert printed or not ended, self.err()
            return printed

        block_until(has_printed, timeout, 0.02, self.err)


class Spawner:
    """Starts ``durablectl ARGS`` when it is called."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._numbers = itertools.count()
        self._started: list[Spawned] = []

    def __call__(self, *args: str, env: Mapping[str, str] | None = None, command: list[str] | None = None) -> Spawned:
        stem = self._directory / f"process-{next(self._numbers)}"
        with stem.with_suffix(".out").open("wb") as out, stem.with_suffix(".err").open("wb") as err:
            process = Spawned(
                [*(command or [sys.executable, "-m", "durablectl"]), *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **self._environment, **(env or {})},
                cwd=self._directory,
                start_new_session=True,
            )
        process.stdout_path, process.stderr_path = stem.with_suffix(".out"), stem.with_suffix(".err")
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs with -9, and print how each process ended, for the report of a failed test."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            sys.stdout.write(f"--- {process.args!r} ended with {process.returncode}\n{process.err()[-4000:]}\n")
