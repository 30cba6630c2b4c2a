"""Serving the application with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import uvicorn

from durablectl.http.http_protocol import Protocol
from durablectl.http.listener import bind, check_tls, url

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

    from durablectl.http.server_options import HttpOptions

_GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    """Without signal handlers: the command has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Told first that it is over, the application ends its streams; uvicorn would wait for them."""
        await self.lifespan.shutdown()
        await super().shutdown(sockets)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, options: HttpOptions, listening: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve until the block ends; the URL. ConfigurationError for an address that cannot be had, or TLS files."""
    check_tls(options)
    listening = listening or bind(options)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it says of starting and stopping, the commands say
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield url(options, listening)
    finally:
        server.should_exit = True
        await asyncio.gather(running, return_exceptions=True)
        listening.close()
