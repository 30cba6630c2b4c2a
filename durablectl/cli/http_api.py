"""The HTTP API as the commands serve it: in this process, or in a process of its own beside a processor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from durablectl.cli.boundary import run_async
from durablectl.cli.stop_signals import stop_signals
from durablectl.cli.terminal.logs import configure_logs
from durablectl.http.server_options import HttpOptions
from durablectl.http.sidecar import SupervisorLink, run_sidecar
from durablectl.settings import Settings, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from durablectl.http.backend import SharedQueries

_log = logging.getLogger("durablectl.http")

_WAIT_SECONDS = 1.5
"""For an answer of the NATS server: a request is told within two seconds that there is none."""
_MODULE = "durablectl.cli.http_api"
_NICE = 10
_QUERY_REST_RATIO = 4.0


def sidecar_api(
    http: HttpOptions | None, settings: Settings, logs: tuple[str, str], metrics: Callable[[], bytes]
) -> AbstractAsyncContextManager[str]:
    """The API beside this process, until the block ends; its URL, "" without one. ``logs``: format and level."""
    if http is None or not http.port:
        return contextlib.nullcontext("")
    warn_if_open(http)
    given = asdict(replace(settings, read_again=None))
    return run_sidecar(http, _MODULE, {"http": asdict(http), "settings": given, "logs": logs}, metrics)


def warn_if_open(options: HttpOptions) -> None:
    if not (options.is_local or options.token):
        _log.warning("Everybody who can reach %s can see and change workflows: there is no token.", options.host)


@contextlib.asynccontextmanager
async def serving_api(
    options: HttpOptions,
    settings: Settings,
    name: str,
    listening: socket.socket | None = None,
    processor_metrics: Callable[[], Awaitable[bytes]] | None = None,
    queries: SharedQueries | None = None,
) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Serve in this process until the block ends; the URL, and the event that SIGINT and SIGTERM set.

    ``name`` is that of the connection to the NATS server.
    """
    from durablectl.cli import version
    from durablectl.http.asgi import create_app
    from durablectl.http.backend import Backend
    from durablectl.http.server import serving

    backend = Backend(queries)
    quick = replace(settings, timeout=min(settings.timeout, _WAIT_SECONDS))
    app = create_app(backend, options, version(), processor_metrics)
    with stop_signals() as stop:
        async with backend.connected(quick, name), serving(app, options, listening) as url:
            yield url, stop


async def _serve(link_descriptor: int, listening_descriptor: int) -> None:
    """Until the processor at the other end of the link is gone, or SIGTERM."""
    os.nice(_NICE)  # the execution of workflows goes first
    link = await SupervisorLink.open(link_descriptor)
    listening = socket.socket(fileno=listening_descriptor)
    task = await link.receive_task()
    if task is None:
        return
    configure_logs(*task["logs"])
    options, settings = HttpOptions(**task["http"]), Settings(**task["settings"])
    if settings.context:
        settings = replace(settings, read_again=lambda: resolve({"context": settings.context}))
    name = "durablectl processor, HTTP"
    from durablectl.http.backend import SharedQueries

    queries = SharedQueries(at_once=1, rest_ratio=_QUERY_REST_RATIO)
    async with serving_api(options, settings, name, listening, link.metrics, queries) as (_, stop):
        closed = asyncio.create_task(link.serve_until_closed())
        closed.add_done_callback(lambda _: stop.set())
        await stop.wait()


if __name__ == "__main__":
    run_async(_serve(*map(int, sys.argv[1:])), fast=True)
