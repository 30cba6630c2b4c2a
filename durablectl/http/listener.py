"""The socket that an HTTP API listens on, for whoever makes it without serving it: nothing heavy is imported here."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from durablectl.errors import ConfigurationError

if TYPE_CHECKING:
    from durablectl.http.server_options import HttpOptions

_BACKLOG = 2048
_STALLED_MILLISECONDS = 60_000
"""For so long a client may take nothing of what it is sent; then the kernel drops it, where it can (Linux)."""


def check_tls(options: HttpOptions) -> None:
    """ConfigurationError for TLS files that cannot be used."""
    if not options.tls_cert:
        return
    try:
        # An empty password: without one, OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The TLS files cannot be loaded: {error.strerror or error}.", hint="Check --tls-cert and --tls-key."
        ) from None


def bind(options: HttpOptions) -> socket.socket:
    """A socket that listens there. ConfigurationError for an address that cannot be had."""
    host = options.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise ConfigurationError(f"The host {options.host!r} has no address.", hint="Check --http-host.") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MILLISECONDS)
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
