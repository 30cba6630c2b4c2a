"""Connecting to NATS: every way this can fail becomes one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client as NatsClient

from durablectl.errors import ConfigurationError, ConnectionFailedError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.settings import Settings

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.5
"""Within which a first connection must stand; "no server" is said within 3 s."""


async def connect(
    settings: Settings, name: str, lost: list[Callable[[], None]], told: list[Callable[[str], bool]]
) -> NatsClient:
    """A connection that reconnects without end once it has stood; ``lost`` are called whenever it breaks.

    ``told`` are called with what the server complains about; unless one of them answers that this is dealt with, it is
    logged. ``name`` is shown by the server's monitoring. Raises ConnectionFailedError, PermissionDeniedError and
    ConfigurationError.
    """
    client = NatsClient()
    failures: list[Exception] = []

    options = _options(settings)
    refused = asyncio.Event()

    async def on_error(error: Exception) -> None:
        failures.append(error)
        del failures[:-8]
        if sum(isinstance(failure, OSError) for failure in failures) > len(options["servers"]):
            refused.set()  # Nobody is there, at the second try either.
        if client.is_connected and not any(take(str(error)) for take in told):
            _log.warning("NATS: %s", error)

    async def on_disconnected() -> None:
        if not client.is_closed:
            _log.warning("The connection to the NATS server was lost; reconnecting.")
        for callback in lost:
            callback()

    async def on_reconnected() -> None:
        _log.warning("Reconnected to the NATS server.")

    connecting = asyncio.ensure_future(
        client.connect(
            name=name,
            error_cb=on_error,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            connect_timeout=2,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds; nats-py only sleeps for it
            max_reconnect_attempts=-1,
            pending_size=64 * 1024 * 1024,
            **options,
        )
    )
    giving_up = asyncio.ensure_future(refused.wait())
    try:
        await asyncio.wait([connecting, giving_up], timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
            raise TimeoutError  # noqa: TRY301 - one place says what went wrong
        connecting.result()
    except (TimeoutError, OSError, nats.errors.Error, ValueError) as error:
        cause = next((f for f in reversed(failures) if _is_refusal(f)), failures[-1] if failures else error)
        with contextlib.suppress(Exception):
            await client.close()
        raise _connect_error(settings, cause) from error
    finally:
        giving_up.cancel()
        connecting.cancel()
    return client


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, nats.errors.AuthorizationError) or "authoriz" in str(error).lower()


def _connect_error(settings: Settings, cause: Exception) -> Exception:
    url = settings.display_url
    if _is_refusal(cause) or "authentication" in str(cause).lower():
        return PermissionDeniedError(
            f"The NATS server at {url} refused the credentials.",
            hint="Check --user/--password, --token, --creds, --nkey or the NATS context.",
        )
    if isinstance(cause, ssl.SSLError):
        return ConnectionFailedError(
            f"The TLS handshake with {url} failed: {cause.reason or cause}.", hint="Check --tlsca, --tlscert, --tlskey."
        )
    if isinstance(cause, ValueError):
        return ConfigurationError(f"The connection settings for {url} cannot be used: {cause}.")
    return ConnectionFailedError(
        f"No NATS server answers at {url}.",
        hint="Start one with `durablectl dev`, or name yours with --nats-url, NATS_URL or --context.",
    )


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"servers": [part.strip() for part in settings.url.split(",") if part.strip()]}
    if settings.user and settings.password:
        options.update(user=settings.user, password=settings.password)
    elif settings.user or settings.token:
        options.update(token=settings.token or settings.user)
    elif settings.creds:
        options.update(user_credentials=settings.creds)
    elif settings.nkey:
        options.update(nkeys_seed=settings.nkey)
    elif settings.user_jwt and settings.user_seed:
        options.update(_jwt_options(settings.user_jwt, settings.user_seed))
    if settings.inbox_prefix:
        options["inbox_prefix"] = settings.inbox_prefix
    if settings.tls_cert or settings.tls_key or settings.tls_ca:
        options["tls"] = _tls(settings)
    if settings.tls_first:
        options["tls_handshake_first"] = True
    return options


def _jwt_options(user_jwt: str, user_seed: str) -> dict[str, Any]:
    import base64

    import nkeys  # type: ignore[import-untyped]

    def signature(nonce: str) -> bytes:
        pair = nkeys.from_seed(bytearray(user_seed.encode()))
        try:
            return base64.b64encode(pair.sign(nonce.encode()))
        finally:
            pair.wipe()

    return {"user_jwt_cb": lambda: bytearray(user_jwt.encode()), "signature_cb": signature}


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except OSError as error:
        raise ConfigurationError(
            f"The TLS files cannot be loaded: {error}.", hint="Check --tlscert, --tlskey and --tlsca."
        ) from error
    return context
