"""Serving the application with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import TYPE_CHECKING

import uvicorn

from durablectl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp

    from durablectl.http.options import HttpOptions

_GRACE_SECONDS = 5
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Without signal handlers: the command has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, options: HttpOptions) -> AsyncIterator[str]:
    """Serve until the block ends; the URL. ConfigurationError for an address that cannot be had, or TLS files."""
    listening = bind(options)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it says of starting and stopping, the commands say
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        listening.close()
        raise ConfigurationError(
            f"The TLS files cannot be loaded: {error.strerror or error}.", hint="Check --tls-cert and --tls-key."
        ) from None
    server = _Server(config)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield url(options, listening)
    finally:
        server.should_exit = True
        await asyncio.gather(running, return_exceptions=True)
        listening.close()


def bind(options: HttpOptions) -> socket.socket:
    """A socket that listens there."""
    host = options.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise ConfigurationError(f"The host {options.host!r} has no address.", hint="Check --http-host.") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"The HTTP API cannot listen on {options.host}:{options.port}: {(error.strerror or str(error)).lower()}.",
            hint="Choose another --http-port; 0 switches it off for a processor.",
        ) from None
    listening.setblocking(False)  # noqa: FBT003  # the standard library's own
    return listening


def url(options: HttpOptions, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    host = options.host.strip("[]")
    return f"{options.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
