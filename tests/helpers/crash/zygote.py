"""Forks processors and clients from a process that has imported everything already: a job a line on standard input.

Each ends by itself, at its crash point, or by {"kill": n}; a line on standard output says how.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

import crash_sweep_app
from durablectl import control
from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.settings import Settings
from durablectl.storage.connection import connect
from durablectl.storage.connection.crash_points import VARIABLE
from durablectl.storage.connection.store import open_store

GRACE = 0.3

connect.CONNECT_SECONDS = 60  # a machine that is busy with many forks takes longer than users are to wait


async def _process(settings: Settings, job: dict[str, Any]) -> None:
    app = App()
    app.add(crash_sweep_app.WORKFLOWS)
    stop = asyncio.Event()
    stopping = asyncio.create_task(_stop_in_work(stop, job)) if job.get("stop_after") else None
    options = {"ack_wait": 1.0, "grace": GRACE, "max_concurrent": 20, **job.get("options", {})}
    async with open_store(settings) as store:
        await Processor(store, app, ProcessorOptions(**options)).run(stop)
    del stopping


async def _stop_in_work(stop: asyncio.Event, job: dict[str, Any]) -> None:
    """So many seconds after the first effect."""
    effects = Path(job["effects"])
    while not await asyncio.to_thread(effects.exists):
        await asyncio.sleep(0.02)
    await asyncio.sleep(job["stop_after"])
    stop.set()


async def operate(store: Any, name: str, args: list[Any], options: dict[str, Any]) -> Any:
    """One operation of control by its name; {"message": text} stands for a protobuf message."""
    args = [StringValue(value=arg["message"]) if isinstance(arg, dict) else arg for arg in args]
    if name == "start":
        return await control.start(store, control.StartRequest(*args, **options))
    return await getattr(control, name)(store, *args, **options)


async def _operate(settings: Settings, job: dict[str, Any]) -> None:
    async with open_store(settings) as store:
        await operate(store, *job["operation"])


def _child(job: dict[str, Any]) -> None:
    os.environ["EFFECTS"] = job["effects"]
    if job.get("crash_at"):
        os.environ[VARIABLE] = job["crash_at"]
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 2)
    settings = Settings(url=job["url"], namespace=job["namespace"], timeout=30)
    work = _process if job["role"] == "processor" else _operate
    try:
        asyncio.run(work(settings, job))
    except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


class Children:
    """By the end of a pipe that closes with the process: its number and its process id."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, int]] = {}

    def fork(self, job: dict[str, Any]) -> None:
        reading, writing = os.pipe()
        process_id = os.fork()
        if process_id == 0:
            self.selector.close()
            _child(job)
        os.close(writing)
        self._running[reading] = (job["number"], process_id)
        self.selector.register(reading, selectors.EVENT_READ)

    def ended(self, pipe: int) -> None:
        number, process_id = self._running.pop(pipe)
        self.selector.unregister(pipe)
        os.close(pipe)
        _, status = os.waitpid(process_id, 0)
        os.write(1, f"{number} {os.waitstatus_to_exitcode(status)}\n".encode())

    def kill(self, which: int | None = None) -> None:
        """One, or all."""
        for number, process_id in self._running.values():
            if which in {None, number}:
                os.kill(process_id, signal.SIGKILL)


def main() -> None:
    children = Children()
    buffer = b""
    while True:
        for key, _ in children.selector.select():
            if key.fd != 0:
                children.ended(key.fd)
                continue
            data = os.read(0, 65536)
            if not data:
                children.kill()
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                job = json.loads(line)
                if "kill" in job:
                    children.kill(job["kill"])
                else:
                    children.fork(job)


if __name__ == "__main__":
    main()
