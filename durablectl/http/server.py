"""Serving the application with uvicorn, with a limit on how long a client may take for its headers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from durablectl.http.listener import bind, check_tls, url

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

    from durablectl.http.server_options import HttpOptions

_GRACE_SECONDS = 5


class HttpProtocol(H11Protocol):
    """Hangs up on a client whose headers do not come, or which goes on sending what nobody reads any more."""

    headers_seconds = 10.0
    """From the connection, or the first byte of its next request, to the end of the headers."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        super().connection_made(transport)
        self._start_header_timeout()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._start_header_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_header_timeout()

    def send_400_response(self, msg: str) -> None:
        """Also while an answer is on its way, where uvicorn's own would fail."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _start_header_timeout(self) -> None:
        is_served = bool(self.cycle) and not self.cycle.response_complete
        if is_served or self.transport.is_closing():
            self._cancel_header_timeout()
        elif self._limit is None:
            self._limit = self.loop.call_later(self.headers_seconds, self.transport.close)

    def _cancel_header_timeout(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


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
        http=HttpProtocol,
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
