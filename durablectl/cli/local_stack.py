"""What `demo` and `dev` run: a nats-server of our own, and in this process the services and a processor."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.errors import DurableError
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.cli.render.local_stack import LocalStackView
    from durablectl.embedded import EmbeddedServer
    from durablectl.engine.sdk.app_loader import App
    from durablectl.engine.worker.processor import Processor, ProcessorOptions
    from durablectl.http.server_options import HttpOptions
    from durablectl.storage.connection.store import Store

_CHECK_SECONDS = 0.25


@dataclass(frozen=True)
class LocalStack:
    """All pieces are up, and commands are being taken."""

    store: Store
    view: LocalStackView


@contextlib.asynccontextmanager
async def run_local_stack(
    server: EmbeddedServer,
    app: App,
    options: ProcessorOptions,
    *,
    namespace: str = "",
    http: HttpOptions | None = None,
    log_format: str = "text",
    stop_requested_at: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[LocalStack]:
    """Start the pieces, and stop them in reverse order: the processor gracefully, the server last.

    Raises ConfigurationError when the server cannot be started. When the server or the processor ends by itself, the
    block is cancelled and the error raised, in a group. ``stop_requested_at`` as for Processor.run.
    """
    from durablectl.cli.http_api import sidecar_api
    from durablectl.engine.worker.processor import Processor
    from durablectl.engine.worker.service_host import hosted
    from durablectl.storage.connection.store import open_store
    from durablectl.system.workflows import system_workflows

    with server:
        settings = Settings(url=server.url, namespace=namespace)
        async with open_store(settings) as store, hosted(store, app.services.values()):
            processor = Processor(store, app, options, system_workflows(store))
            async with (
                sidecar_api(http, settings, (log_format, "info"), processor.metrics.text) as http_url,
                _run_processor(processor, server, stop_requested_at),
            ):
                yield LocalStack(store, _view(store, app, processor.id, options.max_concurrent, http_url))


def _view(store: Store, app: App, processor_id: str, slots: int, http_url: str) -> LocalStackView:
    from durablectl.cli.render.local_stack import LocalStackView
    from durablectl.storage.connection.store import dotted

    return LocalStackView(
        nats_url=store.settings.url,
        server_version=dotted(store.server_version),
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
async def _run_processor(
    processor: Processor, server: EmbeddedServer, stop_requested_at: Callable[[], float]
) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_fail_when_server_ends(server))
        working = tasks.create_task(processor.run(stop, ready, stop_requested_at=stop_requested_at))
        try:
            await ready.wait()
            yield
        finally:
            stop.set()
            watching.cancel()
            await asyncio.wait([working])


async def _fail_when_server_ends(server: EmbeddedServer) -> None:
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        if not server.running:
            raise DurableError(
                "The nats-server ended by itself, and so does all that stood on it.",
                hint="The end of nats-server.log in the data directory may tell why.",
            )
