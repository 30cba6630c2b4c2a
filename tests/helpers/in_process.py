"""Stores, processors and service hosts inside the test's own process, each on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from durablectl.engine.sdk.app_loader import App
from durablectl.engine.worker.processor import Processor, ProcessorOptions
from durablectl.engine.worker.service_host import hosted
from durablectl.storage.connection.store import Store, open_store
from durablectl.storage.streams.provision import provision
from durablectl.system.workflows import system_workflows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from durablectl.settings import Settings


@contextlib.asynccontextmanager
async def provisioned_store(settings: Settings) -> AsyncIterator[Store]:
    """Open a store whose streams exist."""
    async with open_store(settings) as store:
        await provision(store)
        yield store


def suspend_every_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have short sleeps suspend their workflow too, however late the processor comes to look at them."""
    monkeypatch.setattr("durablectl.engine.replay.wait_registry._KEPT_IN_MEMORY_OTHERWISE_US", -1)


@contextlib.asynccontextmanager
async def hosted_services(settings: Settings, *services: Any) -> AsyncIterator[None]:
    """Host the service classes until the block ends."""
    app = App()
    app.add(services)
    async with open_store(settings) as store, hosted(store, app.services.values(), grace=1):
        yield


class InProcessProcessor:
    """A processor that runs as a task of this process."""

    def __init__(self, processor: Processor, store: Store, task: asyncio.Task[None], stop: asyncio.Event) -> None:
        self.processor = processor
        self.store = store
        self._task = task
        self._stop = stop

    @property
    def id(self) -> str:
        return self.processor.id

    async def stop(self) -> None:
        """Stop gracefully."""
        self._stop.set()
        await self._task


@contextlib.asynccontextmanager
async def running_processor(
    settings: Settings, *defined: Any, runs_jobs: bool = False, **options: Any
) -> AsyncIterator[InProcessProcessor]:
    """Run a processor for these workflows that takes commands; stop it gracefully at the end of the block.

    With ``runs_jobs`` it carries out bulk jobs, too, as every processor of the CLI does.
    """
    app = App()
    app.add(defined)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with open_store(settings) as store:
        given = ProcessorOptions(**{"grace": 2.0, "ack_wait": 30.0, **options})
        processor = Processor(store, app, given, system_workflows(store) if runs_jobs else None)
        task = asyncio.create_task(processor.run(stop, ready))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        running = InProcessProcessor(processor, store, task, stop)
        try:
            yield running
        finally:
            await running.stop()
