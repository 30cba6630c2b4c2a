"""What sleeping workflows cost: memory and CPU of an idle processor process before, with them, and after.

The processor is a process of its own; its figures are read from /proc.

Run: ``python bench/sleeping.py [--count 10000]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from durablectl import control, query, workflow
from durablectl.storage import leases
from durablectl.storage.provision import provision
from support import server, side_by_side, store

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_AN_HOUR = 3600


@workflow
async def sleeper(ctx, seconds):
    await ctx.sleep(seconds)


class Process:
    """Resident memory and CPU time of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._directory = Path("/proc") / str(pid)

    def megabytes(self) -> float:
        return int((self._directory / "statm").read_text().split()[1]) * _PAGE / 1e6

    def cpu_seconds(self) -> float:
        fields = (self._directory / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    async def idle(self, seconds: float) -> tuple[float, float]:
        """Megabytes, and per cent of one CPU over so many seconds."""
        before, began = self.cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        return self.megabytes(), 100 * (self.cpu_seconds() - before) / (time.monotonic() - began)


async def measure(url: str, server_pid: int, count: int, seconds: float) -> None:
    environment = {**os.environ, "NATS_URL": url, "DURABLECTL_NAMESPACE": "sleeping"}
    command = [sys.executable, "-m", "durablectl", "run", "processor", __file__, "--log-level", "error"]
    command += ["--http-port", "0"]
    running = subprocess.Popen(command, env=environment)
    processor, nats = Process(running.pid), Process(server_pid)
    try:
        async with store(url, "sleeping") as opened:
            await provision(opened)
            while not await leases.live_processors(opened):
                await asyncio.sleep(0.05)
            await sleep_all(opened, 200, 0, "warm")
            print(f"{'':36} {'processor MB':>13} {'CPU %':>6} {'nats-server MB':>15} {'CPU %':>6}")
            await row("idle, before", processor, nats, seconds)
            began = time.monotonic()
            await sleep_all(opened, count, _AN_HOUR, "w")
            took = time.monotonic() - began
            await row("just after they fell asleep", processor, nats, 1)
            await row(f"{count} workflows sleeping", processor, nats, seconds)
            print(f"{count} started and asleep in {took:.1f} s")
    finally:
        running.kill()
        running.wait()


async def sleep_all(opened, count: int, seconds: float, stem: str) -> None:
    """Start them and wait until all of them sleep or, not sleeping at all, have ended."""

    async def begin(number: int) -> None:
        await control.start(opened, control.StartRequest("sleeper", seconds or 0.001, f"{stem}{number}"))

    await side_by_side(count, 50, begin)
    status = "suspended" if seconds else "completed"
    while (await query.get_stats(opened)).by_status.get(status, 0) < count:
        await asyncio.sleep(0.5)


async def row(title: str, processor: Process, nats: Process, seconds: float) -> None:
    (megabytes, cpu), (server_megabytes, server_cpu) = await asyncio.gather(processor.idle(seconds), nats.idle(seconds))
    print(f"{title:36} {megabytes:13.1f} {cpu:6.2f} {server_megabytes:15.1f} {server_cpu:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20, help="how long CPU is measured")
    options = parser.parse_args()
    with server() as running:
        asyncio.run(measure(running.url, running.pid or 0, options.count, options.seconds))


if __name__ == "__main__":
    main()
