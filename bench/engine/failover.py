"""kill -9 of one of two processors under load: how long its workflows stand still, and how many do.

Each workflow is a chain of short steps that leave a line in a file; the gap of a workflow is the time from its last
step in the dead process to its first in the other.

Run: ``python -m bench.engine.failover [--rounds 5] [--count 100]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._harness import table
from bench._harness.support import HUNG_SECONDS, server, side_by_side, store, wait_for_processors
from durablectl import Context, control, workflow
from durablectl.storage.streams.provision import LEASE_SECONDS, provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

EFFECTS = "BENCH_EFFECTS"
STEP_SECONDS = 0.1


async def effect(invocation_id: str) -> None:
    descriptor = os.open(os.environ[EFFECTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, json.dumps([invocation_id, os.getpid(), time.time()]).encode() + b"\n")
    os.close(descriptor)
    await asyncio.sleep(STEP_SECONDS)


@workflow
async def steps(ctx: Context, count: Any) -> Any:
    for _ in range(count):
        await ctx.step(effect, ctx.invocation_id)


class Round:
    """Two processors, ``count`` workflows, one death."""

    def __init__(self, url: str, namespace: str, directory: Path, count: int) -> None:
        self._url = url
        self._namespace = namespace
        self._effects = directory / f"{namespace}.jsonl"
        self._count = count

    def _processor(self) -> subprocess.Popen[bytes]:
        environment = {"NATS_URL": self._url, "DURABLECTL_NAMESPACE": self._namespace, EFFECTS: str(self._effects)}
        command = [sys.executable, "-m", "durablectl", "run", "processor", __file__, "--log-level", "error"]
        command += ["--http-port", "0"]
        return subprocess.Popen(command, env={**os.environ, **environment})

    async def run(self) -> list[float]:
        """Seconds that each workflow of the dead processor stood still."""
        processes = [self._processor(), self._processor()]
        try:
            async with store(self._url, self._namespace) as opened:
                await provision(opened)
                await wait_for_processors(opened, len(processes))

                async def begin(number: int) -> None:
                    await control.start(opened, control.StartRequest("steps", 100, f"w{number}"))

                await side_by_side(self._count, 50, begin)
                await wait_until(lambda: len(self._lines()) >= self._count, HUNG_SECONDS, 0.05)
                await asyncio.sleep(1)
                # Where one was quicker by far, the other may run nothing.
                killed = max(processes, key=lambda process: len(self._workflows_of(process.pid)))
                killed.kill()
                return await self._gaps(killed.pid)
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL)
                process.wait()

    async def _gaps(self, dead: int) -> list[float]:
        def all_moved() -> bool:
            return all(lines[-1][0] != dead for lines in self._workflows_of(dead))

        await wait_until(all_moved, HUNG_SECONDS, 0.2)
        return [_gap(lines, dead) for lines in self._workflows_of(dead)]

    def _workflows_of(self, dead: int) -> list[list[tuple[int, float]]]:
        """Return process id and time of each step, for each workflow with a step in the dead process."""
        by_workflow: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for invocation_id, pid, moment in map(json.loads, self._lines()):
            by_workflow[invocation_id].append((pid, moment))
        return [lines for lines in by_workflow.values() if any(pid == dead for pid, _ in lines)]

    def _lines(self) -> list[bytes]:
        return self._effects.read_bytes().splitlines() if self._effects.exists() else []


def _gap(lines: list[tuple[int, float]], dead: int) -> float:
    last = max(moment for pid, moment in lines if pid == dead)
    return min(moment for pid, moment in lines if pid != dead and moment > last) - last


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    rounds = []
    with server() as running, tempfile.TemporaryDirectory() as directory:
        for number in range(options.rounds):
            gaps = asyncio.run(Round(running.url, f"f{number}", Path(directory), options.count).run())
            rounds.append((statistics.median(gaps), max(gaps)))
            table.say(f"failover, round {number}: {len(gaps)} workflows, gap {rounds[-1][0]:.2f} to {max(gaps):.2f} s")
    lease = ("the lease", float(LEASE_SECONDS))
    median, longest = (statistics.median(column) for column in zip(*rounds, strict=True))
    yield table.compared("gap of the workflows of a killed processor, median", median, "s", *lease)
    yield table.compared("the longest of a round", longest, "s", *lease, "figure <= 5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=100, help="workflows a round")
    table.run(parser, rows)


if __name__ == "__main__":
    main()
