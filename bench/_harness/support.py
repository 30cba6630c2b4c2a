"""What the benchmarks share: a server of their own, a processor in this process, and filling the queue."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.garbage_collection import collect_seldom
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import leases
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from durablectl.engine.sdk.registry import Workflow
    from durablectl.storage.connection.store import Store


HUNG_SECONDS = 900
"""A measurement that waits this long for a condition is broken."""


@contextlib.contextmanager
def server(sync: str = "") -> Iterator[EmbeddedServer]:
    """A nats-server with its data in a temporary directory; ``sync`` as ``durablectl dev --sync``."""
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(Path(directory), sync=sync) as running:
        yield running


@contextlib.asynccontextmanager
async def store(url: str, namespace: str) -> AsyncIterator[Store]:
    async with open_store(Settings(url=url, namespace=namespace), name="bench") as opened:
        yield opened


@contextlib.asynccontextmanager
async def processor(opened: Store, workflows: list[Workflow], concurrency: int) -> AsyncIterator[None]:
    """Workflows are executed in this process until the block ends."""
    collect_seldom()
    app = App()
    app.add(workflows)
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Processor(opened, app, ProcessorOptions(concurrency)).run(stop, ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        yield
    finally:
        stop.set()
        await running


async def wait_for_processors(opened: Store, count: int) -> None:
    async def are_alive() -> bool:
        return len(await leases.live_processors(opened)) >= count

    await wait_until(are_alive, HUNG_SECONDS, 0.05)


async def side_by_side(count: int, concurrency: int, work: Callable[[int], Awaitable[object]]) -> None:
    """``work(0)`` to ``work(count - 1)``, ``concurrency`` at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def start_many(opened: Store, handler: str, count: int, value: object = None) -> list[str]:
    ids = [f"w{number}" for number in range(count)]

    async def start(number: int) -> None:
        await control.start(opened, control.StartRequest(handler, value, ids[number]))

    await side_by_side(count, 100, start)
    return ids
