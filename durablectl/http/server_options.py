"""How an HTTP API is served."""

from __future__ import annotations

import ipaddress
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from durablectl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = logging.getLogger("durablectl.http")

DEFAULT_PORT = 8080
_SHORTEST_TOKEN = 8


@dataclass(frozen=True)
class HttpOptions:
    """``port`` 0 takes a free one. Without a ``token`` anybody who reaches the port is let in.

    ``request_seconds`` bounds every request but the streams of events, ``body_bytes`` what may be sent. A stream that
    has nothing to say for ``heartbeat_seconds`` says so.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str = field(default="", repr=False)
    read_only: bool = False
    cors_origins: Sequence[str] = ()
    tls_cert: str = ""
    tls_key: str = ""
    request_seconds: float = 30
    heartbeat_seconds: float = 15
    body_bytes: int = 2 * 1024 * 1024

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


def check(options: HttpOptions, *, insecure: bool) -> None:
    """UsageError for what does not fit together, or would let anybody in without ``insecure``."""
    if bool(options.tls_cert) != bool(options.tls_key):
        missing, given = ("--tls-key", "--tls-cert") if options.tls_cert else ("--tls-cert", "--tls-key")
        raise UsageError(f"{given} was given without {missing}.", hint="TLS needs both.")
    if not (options.is_local or options.token or insecure):
        raise UsageError(
            f"Without a token, everybody who can reach {options.host} could see and change workflows.",
            hint="Give --api-token-file or DURABLECTL_API_TOKEN, or --insecure if that is what you want.",
        )
    if "*" in options.cors_origins and not options.token:
        raise UsageError(
            "With --cors-origin '*' and no token, every web page could change workflows.",
            hint="Name the origins, or give --api-token-file.",
        )


def read_token(path: Path) -> str:
    """The first line of a file. ConfigurationError where there is none to be had."""
    try:
        text = path.read_text(encoding="utf-8")
        is_open = os.name == "posix" and path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"The token file {path} cannot be read: {reason}.") from None
    if is_open:
        _log.warning("The token file %s can be read by others: `chmod 600` it.", path)
    return check_token(text.strip().partition("\n")[0].strip(), f"The token file {path}")


def check_token(token: str, source: str) -> str:
    """ConfigurationError for a token that is too short, or that no header can carry."""
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"{source} holds no usable token: it takes at least {_SHORTEST_TOKEN} printable ASCII characters.",
            hint="Make one with `openssl rand -hex 32`.",
        )
    return token
