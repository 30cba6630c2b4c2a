"""A mixed load for minutes or hours while processors and the server are killed at random; every workflow is judged.

Whatever is wrong is printed, the exit code is 1, and the data stays. In the long form (ten minutes and more) memory,
file descriptors and streams must be flat, too: the median of the last quarter is compared with that of the second.
Shorter runs only show these figures: their warm-up is most of the time. Run: ``python -m bench.soak --minutes 30``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._harness import table
from bench.soak.audit import ACK_WAIT_SECONDS, RETENTION_SECONDS, SCHEDULED, Auditor
from bench.soak.faults import Scene, reader_consumers
from bench.soak.load import Load
from bench.soak.processes import Processes, Samples
from durablectl import control, query
from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import provision
from helpers import chaos_judge as judging
from helpers.stored_commands import count_commands
from helpers.waiting import NotInTimeError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.storage.connection.store import Store

_LONG_SECONDS = 600
_CONSUMERS_FROM_SECONDS = 60
"""In a shorter run nobody waits for the server to remove the consumers of processes that were killed: it takes 30 s."""
_TOLD_AT_ONCE = 5
_OF_FAULTS = {"lost_processors": frozenset(), "work": frozenset({"failed", "processor_lost"})}
"""What doctor finds because of the faults themselves and of workflows that are to fail: check -> kinds of trouble."""
_LEFTOVERS = {"outdated", "doubled", "gone", "missing"}
"""What a death between the writes of state and index may leave, until `doctor --repair`."""


def _codes(check: dict[str, Any]) -> set[str]:
    return {group["code"] for group in check.get("groups", ())}


class Soak:
    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self.seconds = options.minutes * 60
        self.violations: list[str] = []
        self.left_in_index = 0
        self.samples = Samples(self.seconds)

    async def run(self, server: EmbeddedServer) -> None:
        settings = Settings(url=server.url, namespace="soak")
        processes = Processes(self._directory, {"NATS_URL": server.url, "DURABLECTL_NAMESPACE": "soak"})
        try:
            async with open_store(settings, name="soak") as store:
                await provision(store)
                await self._run(store, server, processes)
        finally:
            processes.end()

    async def _run(self, store: Store, server: EmbeddedServer, processes: Processes) -> None:
        seed = self._options.seed
        self.load = Load(store, self._directory, seed, self._options.rate)
        self.auditor = Auditor(store, self.load, self._directory / "effects.jsonl")
        self.scene = Scene(store, server, processes, self._directory)
        self.scene.kills_server = not self._options.no_server_kills
        await self.scene.start()
        await control.create_schedule(store, SCHEDULED, "scheduled", input=1, every=1, overlap="allow")
        self.samples = Samples(self.seconds)
        end = time.monotonic() + self.seconds
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(self.load.run())
            auditing = group.create_task(self.auditor.run())
            trouble = [
                group.create_task(self.scene.trouble(random.Random(f"{seed} trouble"), self.auditor, end)),
                group.create_task(self.scene.restart_server(self.samples, self.seconds, end)),
                group.create_task(self.scene.sample(self.samples, min(2.0, self.seconds / 40), end)),
                group.create_task(self.scene.read(end)),
            ]
            listening = group.create_task(self.scene.listen(end))
            group.create_task(self._tell(end))
            await asyncio.wait(trouble)
            self.load.stopping.set()
            await loading
            listening.cancel()
            await self.load.patiently(lambda: control.delete_schedule(store, SCHEDULED))
            await asyncio.sleep(2)  # of what it has started last
            self.auditor.stopping.set()
            done, _ = await asyncio.wait([auditing], timeout=120)
            if not done:
                auditing.cancel()
                await self._tell_open(store)
        await self._finish(store, processes)

    async def _tell(self, end: float) -> None:
        told = 0
        while time.monotonic() < end:
            await asyncio.sleep(min(30.0, self.seconds / 4))
            found = [*self.load.violations, *self.auditor.violations, *self.scene.violations]
            started, open_now = self.load.started.total(), len(self.load.open)
            table.say(f"{self.samples.part:.0%}: {started} started, {open_now} open, {len(found)} violations")
            if told == 0 and found:
                told = len(found)
                table.say("\n  ".join(["the first:", *found[:_TOLD_AT_ONCE]]))

    async def _tell_open(self, store: Store) -> None:
        for each in self.load.open:
            try:
                self.violations += judging.not_ended([await query.get_workflow(store, each)]) or [f"{each}: not judged"]
            except DurableError as error:
                self.violations.append(f"{each}: {error.message}")

    async def _finish(self, store: Store, processes: Processes) -> None:
        with contextlib.suppress(NotInTimeError):
            await wait_until(lambda: _none_left(store), max(120, 3 * ACK_WAIT_SECONDS), 0.2)
        left = await count_commands(store)
        if left:
            self.violations.append(f"{left} commands or timers are left over")
        await self._examine(processes)
        await self.scene.stop()
        if self.seconds >= _CONSUMERS_FROM_SECONDS:
            with contextlib.suppress(NotInTimeError):
                await wait_until(lambda: _no_consumer(store), 60, 0.5)
            self.violations += [f"a consumer is left over: {name}" for name in await reader_consumers(store)]
        await self.auditor.finish()
        self.violations += [
            *self.load.violations,
            *self.auditor.violations,
            *self.scene.violations,
            *processes.tracebacks(),
        ]

    async def _examine(self, processes: Processes) -> None:
        """The doctor finds nothing but index entries that deaths have left; those it can mend."""
        first = await self._doctor(processes)
        if first is None:
            return
        for check in first["checks"]:
            if check["name"] == "index":
                self.left_in_index = sum(check.get(kind, 0) for kind in _LEFTOVERS)
                if self.left_in_index:
                    self._note("doctor.json", json.dumps(check, indent=1))
        mended = await self._doctor(processes, "--repair")
        for report in filter(None, (first, mended)):
            self.violations += [
                f"doctor: {check['name']}: {check['message']} {sorted(_codes(check))}"
                for check in report["checks"]
                if check["severity"] != "ok"
                and not (check["name"] == "index" and report is first)
                and not (check["name"] in _OF_FAULTS and _codes(check) <= _OF_FAULTS[check["name"]])
            ]

    async def _doctor(self, processes: Processes, *options: str) -> dict[str, Any] | None:
        done = await asyncio.to_thread(processes.run, "doctor", "--json", *options)
        if not done.stdout:
            self.violations.append(f"doctor ended with {done.returncode}: {done.stderr.strip()}")
            return None
        return json.loads(done.stdout)

    def _note(self, name: str, text: str) -> None:
        (self._directory / name).write_text(text, encoding="utf-8")

    def rows(self) -> Iterator[table.Row]:
        auditor, load, scene = self.auditor, self.load, self.scene
        yield table.Row("duration", self.seconds, "s")
        by_handler: dict[str, Counter[str]] = {}
        for (handler, status), count in sorted(auditor.ends.items()):
            by_handler.setdefault(handler, Counter())[status] += count
        total = auditor.ends.total()
        for handler, statuses in by_handler.items():
            words = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
            yield table.Row(f"{handler}, judged", statuses.total(), "", words)
        yield table.Row("workflows judged", total)
        yield table.Row("workflows a second", total / self.seconds, "/s")
        yield table.Row("steps recorded", auditor.steps)
        yield table.Row("effects seen", auditor.effects)
        yield table.Row("repeated by processors that came back from being frozen", auditor.thawed_effects)
        for what, count in sorted((scene.did + load.did + scene.reads).items()):
            yield table.Row(what, count, "times")
        yield table.Row("index entries that deaths have left", self.left_in_index)
        if auditor.latencies:
            latencies = sorted(auditor.latencies)
            yield table.Row("quick workflow, start to end, p50", statistics.median(latencies), "ms")
            yield table.Row("quick workflow, start to end, p99", latencies[int(len(latencies) * 0.99)], "ms")
        for name, (second, last) in self.samples.quarters().items():
            unit = "MB" if name.startswith("memory") else "kB" if name.startswith("kilobytes") else ""
            bars = [f"ratio <= {_tolerance(name)}"] if self.seconds >= _LONG_SECONDS else []
            yield table.compared(f"{name}, last quarter", last, unit, "second quarter", second, *bars)
        yield table.Row("violations", len(self.violations), "", "", None, ["figure <= 0"])


def _tolerance(name: str) -> float:
    """Streams hold what the last minute has brought, and a server's memory follows its collector of garbage."""
    if name.startswith(("messages of commands", "kilobytes of commands")):
        return 2.0  # a handful of commands that are under way at one moment
    return 1.25 if name == "memory of nats-server" or name.startswith(("messages", "kilobytes", "tasks")) else 1.1


async def _none_left(store: Store) -> bool:
    return not await count_commands(store)


async def _no_consumer(store: Store) -> bool:
    return not await reader_consumers(store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument(
        "--seed", type=int, default=None, help="repeats the choices of a run; the timing is the machine's"
    )
    parser.add_argument("--rate", type=float, default=40, help="workflows a second")
    parser.add_argument("--no-server-kills", action="store_true", help="stop the server gracefully each time")
    table.add_json(parser)
    options = parser.parse_args()
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    table.say(f"seed {options.seed}, retention {RETENTION_SECONDS} s, data in {directory}")
    soak = Soak(options, directory)
    with EmbeddedServer(directory / "nats") as server:
        asyncio.run(soak.run(server))
    rows = list(soak.rows())
    table.show(rows, as_json=options.json, seed=options.seed, violations=soak.violations)
    for violation in soak.violations[:100]:
        table.say(violation)
    if soak.violations or any(row.verdict == "MISSED" for row in rows):
        sys.exit(f"not clean; the data stays in {directory}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
