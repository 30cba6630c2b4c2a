"""What happens to the processes of the soak, and who reads all the while."""

from __future__ import annotations

import asyncio
import contextlib
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
from durablectl.errors import DurableError

if TYPE_CHECKING:
    import random

    from bench.soak.audit import Auditor
    from bench.soak.processes import Process, Processes
    from durablectl.embedded import EmbeddedServer
    from durablectl.storage.connection.store import Store

_APP = str(Path(__file__).with_name("workflows.py"))
_READERS = (["wf", "list", "--json"], ["wf", "stats", "--json"], ["wf", "errors", "--json"])
_FOLLOWERS = (["wf", "tail", "--json"], ["wf", "watch", "--json"])
_STARTED = 15.0
"""Seconds after which a processor handles signals, however busy the machine is."""
_SERVER_UNTIL, _SERVER_AGAIN = 0.2, 0.95


class Scene:
    """The processes: one processor, the API and the followers stay; two processors do not, nor does the server."""

    def __init__(self, store: Store, server: EmbeddedServer, processes: Processes, directory: Path) -> None:
        self._store = store
        self._server = server
        self._processes = processes
        self._directory = directory
        self.did: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.steady = self._processor({TASKS: str(directory / "tasks")})
        self.victims = [self._processor(), self._processor()]
        self.api = processes.start("serve-api", "--http-port", "0")
        self.followers = [processes.start(*command) for command in _FOLLOWERS]
        self.violations: list[str] = []
        self.kills_server = True

    def _processor(self, env: dict[str, str] | None = None) -> Process:
        retention = f"{RETENTION_SECONDS}s"
        options = (
            "--grace",
            "1",
            "--retention",
            retention,
            "--ack-wait",
            f"{ACK_WAIT_SECONDS}",
            "--log-level",
            "warning",
            "--http-port",
            "0",
        )
        effects = str(self._directory / "effects.jsonl")
        return self._processes.start("run", "processor", _APP, *options, env={EFFECTS: effects, **(env or {})})

    async def trouble(self, choices: random.Random, auditor: Auditor, until: float) -> None:
        """Kill, freeze and stop the two processors, one at a time."""
        while time.monotonic() < until:
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
            victim.signal_group(signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
            code = await asyncio.to_thread(victim.wait)
            # Before it has come to handle signals, SIGTERM ends it as it ends any process.
            if how == "stop" and code and (code != -signal.SIGTERM or time.monotonic() - victim.started_at > _STARTED):
                self.violations.append(f"a processor that was stopped ended with {code}: {victim.log.name}")
            await asyncio.sleep(choices.uniform(0.0, 1.0))
            self.victims[which] = self._processor()

    async def restart_server(self, samples: Samples, seconds: float, until: float) -> None:
        """At the beginning and at the end; in between it is measured."""
        number = 0
        while time.monotonic() < until:
            await asyncio.sleep(max(2.0, seconds * 0.04))
            if _SERVER_UNTIL < samples.part < _SERVER_AGAIN:
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
        while not (found := re.search(r"http://\S+", self.api.err())):
            await asyncio.sleep(0.1)
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
                self.violations.append(f"it ended by itself with {process.returncode}: {process.log.name}")
                continue
            process.signal_group(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, 20)
            except subprocess.TimeoutExpired:
                self.violations.append(f"it did not stop: {process.log.name}")
