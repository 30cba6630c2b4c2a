"""The HTTP API beside a processor: what the commands call, and what the process of its own runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from durablectl.cli.boundary import run_async
from durablectl.cli.options.http_api import serving_api, warn_if_open
from durablectl.cli.terminal.logs import configure_logs
from durablectl.http.server_options import HttpOptions
from durablectl.http.shared_queries import Queries
from durablectl.http.sidecar import Link, beside
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

_MODULE = "durablectl.cli.http_api"
_NICE = 10
_REST = 4.0


def api_beside(
    http: HttpOptions | None, settings: Settings, logs: tuple[str, str], metrics: Callable[[], bytes]
) -> AbstractAsyncContextManager[str]:
    """The API beside this process, until the block ends; its URL, "" without one. ``logs``: format and level."""
    if http is None or not http.port:
        return contextlib.nullcontext("")
    warn_if_open(http)
    return beside(http, _MODULE, {"http": asdict(http), "settings": asdict(settings), "logs": logs}, metrics)


async def _serve(link_descriptor: int, listening_descriptor: int) -> None:
    """Until the processor at the other end of the link is gone, or SIGTERM."""
    os.nice(_NICE)  # the execution of workflows goes first
    link = await Link.open(link_descriptor)
    listening = socket.socket(fileno=listening_descriptor)
    task = await link.task()
    if task is None:
        return
    configure_logs(*task["logs"])
    options, settings = HttpOptions(**task["http"]), Settings(**task["settings"])
    name = "durablectl processor, HTTP"
    queries = Queries(at_once=1, rest=_REST)
    async with serving_api(options, settings, name, listening, link.metrics, queries) as (_, stop):
        gone = asyncio.create_task(link.until_gone())
        gone.add_done_callback(lambda _: stop.set())
        await stop.wait()


if __name__ == "__main__":
    run_async(_serve(*map(int, sys.argv[1:])), fast=True)
