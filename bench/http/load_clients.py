"""Clients of the HTTP API in a process of their own, each on one connection, asking again once it has an answer."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.connection import Connection

_READY, _STOP = "ready", "stop"


class Answers(NamedTuple):
    """Of one path: milliseconds each took, in order, and for how many seconds they were asked for."""

    milliseconds: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.milliseconds) / self.seconds

    @property
    def median(self) -> float:
        return self._quantile(0.5)

    @property
    def slowest_hundredth(self) -> float:
        return self._quantile(0.99)

    def _quantile(self, part: float) -> float:
        """Not a number without any answer."""
        ordered = sorted(self.milliseconds)
        return ordered[int(part * len(ordered))] if ordered else math.nan


class Clients:
    """What ``hammering`` yields; ``answers`` by path are there when its block has ended."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}


@contextlib.asynccontextmanager
async def hammering(url: str, paths: list[str], count: int) -> AsyncIterator[Clients]:
    """``count`` clients ask for the paths in turn until the block ends; it begins once each has had an answer."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(url, paths, count, theirs))
    process.start()
    theirs.close()  # so that its end is noticed, should it die
    clients = Clients()
    try:
        assert await asyncio.to_thread(ours.recv) == _READY
        yield clients
        ours.send(_STOP)
        clients.answers = {path: Answers(*found) for path, found in (await asyncio.to_thread(ours.recv)).items()}
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)


def _run(url: str, paths: list[str], count: int, link: Connection) -> None:
    import uvloop

    uvloop.run(_ask(url, paths, count, link))


async def _ask(url: str, paths: list[str], count: int, link: Connection) -> None:
    place = urlsplit(url)
    taken: dict[str, list[float]] = {path: [] for path in paths}

    async def client(number: int, first: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while True:
            path = paths[number % len(paths)]
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            await _answered(reader, path)
            if first.is_set():
                taken[path].append((time.perf_counter() - began) * 1000)
            first.set()
            number += 1

    firsts = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(client(number, first)) for number, first in enumerate(firsts)]
    all_first = asyncio.gather(*(first.wait() for first in firsts))
    waited: list[asyncio.Future[Any]] = [*tasks, all_first]
    await asyncio.wait(waited, return_when="FIRST_COMPLETED")
    began = time.perf_counter()
    for each in taken.values():
        each.clear()
    link.send(_READY)
    while not link.poll():
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    failed = [task for task in tasks if task.done()]
    for task in failed:
        task.result()
    link.send({path: (each, seconds) for path, each in taken.items()})


async def _answered(reader: asyncio.StreamReader, path: str) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        raise SystemExit(f"{path}: {head.decode()}")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
