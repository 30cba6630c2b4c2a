"""What sleeping workflows cost: memory and CPU of an idle processor process before, with them, and after.

The processor is a process of its own; its figures are read from /proc.

Run: ``python -m bench.engine.suspended_workflows [--count 10000]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench._harness import table
from bench._harness.support import HUNG_SECONDS, server, side_by_side, store, wait_for_processors
from durablectl import Context, control, query, workflow
from durablectl.storage.streams.provision import provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.storage.connection.store import Store

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_AN_HOUR = 3600
_NAMES = ("a processor", "nats-server")


@workflow
async def sleeper(ctx: Context, seconds: Any) -> Any:
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

    async def idle(self, seconds: float) -> Usage:
        """Megabytes, and per cent of one CPU over so many seconds."""
        before, began = self.cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        return Usage(self.megabytes(), 100 * (self.cpu_seconds() - before) / (time.monotonic() - began))


class Usage(NamedTuple):
    """What a process takes."""

    megabytes: float
    cpu: float


class Measured(NamedTuple):
    """Of processor and nats-server, idle, before and with those that sleep; how long it took until all slept."""

    before: tuple[Usage, Usage]
    asleep: tuple[Usage, Usage]
    seconds: float


async def measure(url: str, server_pid: int, count: int, seconds: float) -> Measured:
    environment = {**os.environ, "NATS_URL": url, "DURABLECTL_NAMESPACE": "sleeping"}
    command = [sys.executable, "-m", "durablectl", "run", "processor", __file__, "--log-level", "error"]
    command += ["--http-port", "0"]
    running = subprocess.Popen(command, env=environment)
    processor, nats = Process(running.pid), Process(server_pid)
    try:
        async with store(url, "sleeping") as opened:
            await provision(opened)
            await wait_for_processors(opened, 1)
            await sleep_all(opened, 200, 0, "warm")
            before = await both_idle("idle, before", processor, nats, seconds)
            began = time.monotonic()
            await sleep_all(opened, count, _AN_HOUR, "w")
            took = time.monotonic() - began
            await both_idle("just after they fell asleep", processor, nats, 1)
            asleep = await both_idle(f"{count} workflows sleeping", processor, nats, seconds)
            return Measured(before, asleep, took)
    finally:
        running.kill()
        running.wait()


async def sleep_all(opened: Store, count: int, seconds: float, stem: str) -> None:
    """Start them and wait until all of them sleep or, not sleeping at all, have ended."""

    async def begin(number: int) -> None:
        await control.start(opened, control.StartRequest("sleeper", seconds or 0.001, f"{stem}{number}"))

    await side_by_side(count, 50, begin)
    status = "suspended" if seconds else "completed"

    async def all_counted() -> bool:
        return (await query.get_stats(opened)).by_status.get(status, 0) >= count

    await wait_until(all_counted, HUNG_SECONDS, 0.5)


async def both_idle(title: str, processor: Process, nats: Process, seconds: float) -> tuple[Usage, Usage]:
    usages = await asyncio.gather(processor.idle(seconds), nats.idle(seconds))
    words = [f"{name} {usage.megabytes:.1f} MB {usage.cpu:.2f} %" for name, usage in zip(_NAMES, usages, strict=True)]
    table.say(f"sleeping, {title}: {', '.join(words)}")
    return usages


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    with server() as running:
        found = asyncio.run(measure(running.url, running.pid or 0, options.count, options.seconds))
    with_them = f"with {options.count:,} suspended"
    for name, before, asleep in zip(_NAMES, found.before, found.asleep, strict=True):
        yield table.compared(f"memory of {name} {with_them}", asleep.megabytes, "MB", "before", before.megabytes)
        yield table.compared(f"CPU of {name}, idle, {with_them}", asleep.cpu, "%", "before", before.cpu)
    yield table.Row(f"{options.count:,} started until all are suspended", found.seconds, "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20, help="how long CPU is measured")
    table.run(parser, rows)


if __name__ == "__main__":
    main()
