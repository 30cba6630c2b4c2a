"""What `demo` and `dev` run: a nats-server of our own, and in this process the services and a processor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.cli.boundary import INTERRUPTED
from durablectl.errors import ConnectionFailedError, DurableError
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from durablectl.cli.render.stack import StackView
    from durablectl.embedded import EmbeddedServer
    from durablectl.engine.sdk.app_loader import App
    from durablectl.engine.worker.processor import Processor, ProcessorOptions
    from durablectl.http.server_options import HttpOptions
    from durablectl.storage.connection.store import Store

_log = logging.getLogger("durablectl.run")

_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Stack:
    """All pieces are up, and commands are being taken."""

    store: Store
    view: StackView


@contextlib.asynccontextmanager
async def running(
    server: EmbeddedServer,
    app: App,
    options: ProcessorOptions,
    *,
    namespace: str = "",
    http: HttpOptions | None = None,
    log_format: str = "text",
) -> AsyncIterator[Stack]:
    """Start the pieces, and stop them in reverse order: the processor gracefully, the server last.

    Raises ConfigurationError when the server cannot be started. When the server or the processor ends by itself, the
    block is cancelled and the error raised, in a group.
    """
    from durablectl.cli.http_api import api_beside
    from durablectl.engine.worker.processor import Processor
    from durablectl.engine.worker.service_host import hosted
    from durablectl.storage.connection.store import open_store

    with server:
        settings = Settings(url=server.url, namespace=namespace)
        async with open_store(settings) as store, hosted(store, app.services.values()):
            processor = Processor(store, app, options)
            async with (
                api_beside(http, settings, (log_format, "info"), processor.metrics.text) as http_url,
                _working(processor, server),
            ):
                yield Stack(store, _view(store, app, processor.id, options.max_concurrent, http_url))


def _view(store: Store, app: App, processor_id: str, slots: int, http_url: str) -> StackView:
    version = store.nats.connected_server_version
    from durablectl.cli.render.stack import StackView

    return StackView(
        nats_url=store.settings.url,
        server_version=f"{version.major}.{version.minor}.{version.patch}",
        namespace=store.settings.namespace,
        app=app.names,
        app_source=app.source,
        workflows=sorted(app.workflows),
        services=sorted(app.services),
        processor_id=processor_id,
        slots=slots,
        http_url=http_url,
    )


@contextlib.asynccontextmanager
async def _working(processor: Processor, server: EmbeddedServer) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch(server))
        working = tasks.create_task(processor.run(stop, ready))
        try:
            await ready.wait()
            yield
        finally:
            stop.set()
            watching.cancel()
            await asyncio.wait([working])


async def _watch(server: EmbeddedServer) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if not server.running:
            raise DurableError(
                "The nats-server ended by itself, and so does all that stood on it.",
                hint="The end of nats-server.log in the data directory may tell why.",
            )


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process at once, as a crash would.

    A stop is a stop during an outage, too: once the event is set, a failure of the connection is only logged.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def received() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)  # what is journaled is safe, and the server does not outlive its parent
        stop.set()

    with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl-C cancels the command instead
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, received)
    try:
        yield stop
    except ConnectionFailedError as error:
        if not stop.is_set():
            raise
        _log.warning("Stopped without the NATS server: %s", error)
