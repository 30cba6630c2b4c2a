"""What happens to the processes of the soak, and who reads all the while."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.soak.audit import ACK_WAIT_SECONDS, RETENTION_SECONDS
from bench.soak.processes import Samples, descriptors, resident
from bench.soak.workflows import TASKS
from chaos_app import EFFECTS
from durablectl.errors import ConnectionFailedError, DurableError
from helpers.waiting import wait_until

if TYPE_CHECKING:
    import random

    from bench.soak.audit import Auditor
    from bench.soak.processes import Process, Processes
    from durablectl.embedded import EmbeddedServer
    from durablectl.storage.connection.store import Store

_APP = str(Path(__file__).with_name("workflows.py"))
_READERS = (["wf", "list", "--json"], ["wf", "stats", "--json"], ["wf", "errors", "--json"])
_FOLLOWERS = (["wf", "tail", "--json"], ["wf", "watch", "--json"])
_LEAST_TROUBLE = 2
_STOP_SECONDS = 120
"""A limit that only a process that hangs reaches."""
_TAKES_COMMANDS = "takes commands for"
"""What a processor logs once it has started."""
_SERVER_UNTIL, _SERVER_AGAIN = 0.2, 0.95


async def reader_consumers(store: Store) -> list[str]:
    """Those of readers; the handlers' own stay for ever."""
    subjects = store.subjects
    found = []
    for stream in (subjects.state_stream, subjects.index_stream, subjects.processors_stream):
        answer = await store.requests.call(f"{store.api}.CONSUMER.LIST.{stream}")
        found += [f"{stream}: {each['name']}" for each in answer.get("consumers") or ()]
    return found


class Scene:
    """The processes: one processor, the API and the followers stay; two processors do not, nor does the server."""

    def __init__(self, store: Store, server: EmbeddedServer, processes: Processes, directory: Path) -> None:
        self._store = store
        self._server = server
        self._processes = processes
        self._directory = directory
        self.did: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.victims: list[Process] = []
        self.followers: list[Process] = []
        self.violations: list[str] = []
        self.kills_server = True

    async def start(self) -> None:
        """Until those that stay are connected: a process whose server is lost while it starts ends with an error."""
        self.steady = self._processor({TASKS: str(self._directory / "tasks")})
        self.api = self._processes.start("serve-api", "--http-port", "0")
        await wait_until(lambda: _TAKES_COMMANDS in self.steady.err() and "listens on" in self.api.err(), 120, 0.1)
        before = len(await reader_consumers(self._store))
        self.followers = [self._processes.start(*command) for command in _FOLLOWERS]

        async def are_following() -> bool:
            return len(await reader_consumers(self._store)) >= before + len(_FOLLOWERS)

        await wait_until(are_following, 120, 0.1)
        self.victims = [self._processor(), self._processor()]

    def _processor(self, env: dict[str, str] | None = None) -> Process:
        retention = f"{RETENTION_SECONDS}s"
        options = (
            "--grace",
            "1",
            "--retention",
            retention,
            "--ack-wait",
            f"{ACK_WAIT_SECONDS}",
            "--http-port",
            "0",
        )
        effects = str(self._directory / "effects.jsonl")
        return self._processes.start("run", "processor", _APP, *options, env={EFFECTS: effects, **(env or {})})

    async def trouble(self, choices: random.Random, auditor: Auditor, until: float) -> None:
        """Kill, freeze and stop the two processors, one at a time; twice at least, however slow the machine is."""
        for number in itertools.count():
            if number >= _LEAST_TROUBLE and time.monotonic() >= until:
                return
            await asyncio.sleep(choices.uniform(1.0, 4.0))
            which = choices.randrange(2)
            victim = self.victims[which]
            [how] = choices.choices(["kill -9", "freeze", "stop"], [4, 2, 2])
            self.did[how] += 1
            if how == "freeze":
                auditor.freeze(victim.pid, time.time())
                victim.signal_group(signal.SIGSTOP)
                await asyncio.sleep(choices.uniform(0.5, 6.0))
                victim.signal_group(signal.SIGCONT)
                auditor.thaw(victim.pid)
                continue
            if victim.poll() is not None:
                self._judge_end(victim)
            elif how == "stop":
                victim.signal_group(signal.SIGTERM)
                self._judge_stop(victim, await asyncio.to_thread(victim.wait))
            else:
                victim.signal_group(signal.SIGKILL)
                await asyncio.to_thread(victim.wait)
            await asyncio.sleep(choices.uniform(0.0, 1.0))
            self.victims[which] = self._processor()

    def _judge_end(self, victim: Process) -> None:
        """It ended by itself, which is right only where it lost the server before it took commands."""
        is_failed_start = victim.returncode == ConnectionFailedError.exit_code and _TAKES_COMMANDS not in victim.err()
        if victim in self.victims and is_failed_start:
            self.did["start without a server"] += 1
        else:
            self.violations.append(f"it ended by itself with {victim.returncode}: {victim.log.name}")

    def _judge_stop(self, victim: Process, code: int) -> None:
        # Before a process handles signals, SIGTERM ends it. It handles them when it takes commands, and before that.
        is_too_early = code == -signal.SIGTERM and _TAKES_COMMANDS not in victim.err()
        if code == ConnectionFailedError.exit_code:
            self._judge_end(victim)
        elif code and not is_too_early:
            self.violations.append(f"a processor that was stopped ended with {code}: {victim.log.name}")

    async def restart_server(self, samples: Samples, seconds: float, until: float) -> None:
        """At the beginning, once at least, and at the end; in between it is measured."""
        number = 0
        while time.monotonic() < until:
            await asyncio.sleep(max(2.0, seconds * 0.04))
            if number and _SERVER_UNTIL < samples.part < _SERVER_AGAIN:
                continue
            if number % 2 or not self.kills_server:
                self.did["server restart"] += 1
                await asyncio.to_thread(self._server.restart)
            else:
                self.did["server kill -9"] += 1
                await asyncio.to_thread(self._server.kill)
                await asyncio.to_thread(self._server.start)
            number += 1

    async def read(self, until: float) -> None:
        """As operators do, again and again."""
        while time.monotonic() < until:
            for command in _READERS:
                done = await asyncio.to_thread(self._processes.run, *command)
                self.reads[" ".join(command[:2])] += 1
                if done.returncode == 0:
                    json.loads(done.stdout)
                elif "connect" not in done.stderr.lower() and "answer" not in done.stderr.lower():
                    self.violations.append(f"{' '.join(command)}: {done.returncode}, {done.stderr.strip()}")
            await asyncio.sleep(4)

    async def listen(self, until: float) -> None:
        """One stream of events over HTTP, as a browser has it open."""
        found = await wait_until(lambda: re.search(r"http://\S+", self.api.err()), 60, 0.1)
        url = urlsplit(found[0].rstrip("."))
        while time.monotonic() < until:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(url.hostname, url.port)
                writer.write(f"GET /api/events HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
                self.reads["event streams"] += 1
                while time.monotonic() < until:
                    async with asyncio.timeout(60):
                        data = await reader.read(65536)
                    if not data:
                        break
                    self.reads["events"] += data.count(b"\nid:") + data.startswith(b"id:")
                writer.close()
            await asyncio.sleep(1)

    async def sample(self, samples: Samples, every: float, until: float) -> None:
        subjects = self._store.subjects
        streams = {"state": subjects.state_stream, "index": subjects.index_stream, "commands": subjects.commands_stream}
        while time.monotonic() < until:
            for name, pid in (
                ("processor", self.steady.pid),
                ("serve-api", self.api.pid),
                ("nats-server", self._server.pid),
            ):
                with contextlib.suppress(OSError, StopIteration):
                    if pid is not None:
                        samples.add(f"memory of {name}", resident(pid) / 1e6)
                        samples.add(f"descriptors of {name}", descriptors(pid))
            tasks = self._directory / "tasks"
            with contextlib.suppress(OSError, ValueError):
                samples.add("tasks of processor", int(tasks.read_text(encoding="utf-8")))
            with contextlib.suppress(DurableError):
                for name, stream in streams.items():
                    answer = await self._store.requests.call(f"{self._store.api}.STREAM.INFO.{stream}")
                    samples.add(f"messages of {name}", answer["state"]["messages"])
                    samples.add(f"kilobytes of {name}", answer["state"]["bytes"] / 1e3)
            await asyncio.sleep(every)

    async def stop(self) -> None:
        """Gracefully, all of them."""
        for process in (*self.followers, self.api, self.steady, *self.victims):
            if process.poll() is not None:
                self._judge_end(process)
                continue
            process.signal_group(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.violations.append(f"it did not stop: {process.log.name}")
