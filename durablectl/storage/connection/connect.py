"""Connecting to NATS: every way this can fail becomes one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import nats.errors
from nats.aio.client import Client as NatsClient

from durablectl.errors import ConfigurationError, ConnectionFailedError, DurableError, PermissionDeniedError
from durablectl.model.throttled_log import ThrottledLog
from durablectl.storage.connection.credentials import Identity, expired, read_identity
from durablectl.storage.connection.permissions import grants, sentence, violation_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.settings import Settings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_PING_SECONDS = 4
"""A server that answers none of two is left for another: it may be frozen, or cut off."""
CONNECT_SECONDS = 2.5
"""Within which a first connection must stand; "no server" is said within 3 s."""
_RECONNECT_SECONDS = 0.25
_REFUSED_SECONDS = 2.0
"""Between two attempts to reconnect; the second where the server answers and does not let us in."""
_FROM_CONTEXT = ("url", "user", "password", "token", "creds", "nkey", "user_jwt", "user_seed")
_FILES_FROM_CONTEXT = ("tls_cert", "tls_key", "tls_ca")
"""What is read again: who this is, never whom it talks to; credentials in the URL are part of it."""
_NO_HANG_UP = ("permissions violation", "stale connection")
"""Complaints of the server after which nats-py does not close the connection for good."""


class Client(NatsClient):
    """Adds what other clients do and nats-py does not.

    It connects again, without end, also where the server hangs up and says why: nats-py closes for good then. Each time
    it reads credentials and certificates again, for they are renewed. Where TLS was asked for, ``must_encrypt``, no
    password is sent in clear text.
    """

    must_encrypt = False
    payload_limit = 0
    """Bytes of the largest message that this user's limits may allow, once they were met; 0 before."""

    def __init__(self, identify: Callable[[], Identity], load_tls: Callable[[], ssl.SSLContext] | None) -> None:
        super().__init__()
        self._identify = identify
        self._load_tls = load_tls

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message that the server takes, headers included."""
        return min(self._max_payload, self.payload_limit or self._max_payload)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        return super().ssl_context if self._load_tls is None else self._load_tls()

    def _connect_command(self) -> bytes:
        if self.must_encrypt and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        shown = self._identify()
        self.options |= {"user": shown.user or None, "password": shown.password or None, "token": shown.token or None}
        self._auth_configured = self._auth_configured or shown != Identity()
        self._public_nkey = shown.public_key or None
        self._signature_cb = shown.sign
        self._user_jwt_cb = (lambda: bytearray(shown.jwt.encode())) if shown.jwt else None
        return super()._connect_command()

    async def _select_next_server(self) -> None:
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]  # of an attempt that failed in the middle
        await super()._select_next_server()

    async def _process_err(self, err_msg: str) -> None:
        words = err_msg.lower()
        if not self.is_connected or any(harmless in words for harmless in _NO_HANG_UP):
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def close(self) -> None:
        """Close for good, also in the middle of an attempt to reconnect, of which nats-py leaves the socket open."""
        await super().close()
        task = self._reconnection_task
        if task is None or task.done() or task is asyncio.current_task():
            return
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        if not self.is_closed:
            await super().close()
        elif self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    async def _attempt_reconnect(self) -> None:
        while True:
            try:
                return await super()._attempt_reconnect()
            except Exception as error:  # noqa: BLE001  # nats-py would leave the connection as it is, and nobody at it
                await self._error_cb(error)
                await asyncio.sleep(_RECONNECT_SECONDS)

    def broken_handshake(self, settings: Settings, error: Exception) -> ssl.SSLError | None:
        """What it means when the server takes the connection and hangs up, or is silent: it may not say why."""
        is_cut = isinstance(error, ConnectionResetError | BrokenPipeError | TimeoutError)
        words = str(getattr(error, "reason", ""))
        if settings.tls_first and self._current_server and not self._server_info and (is_cut or "VERSION" in words):
            return ssl.SSLError(None, "tls_first is for servers with handshake_first")
        if self._server_info.get("tls_verify") and (is_cut or "ALERT" in words):
            want = "does not accept the certificate" if settings.tls_cert else "asks for a certificate"
            return ssl.SSLError(None, f"the server {want} of this client")
        return None


class _DomainClient(Client):
    """A client that puts ``prefix`` before the subjects of buckets.

    Leaf nodes pass them on to another JetStream domain only behind the prefix of its API. A class of its own, because
    every step publishes, and hardly anybody has a domain.
    """

    def __init__(
        self, prefix: str, identify: Callable[[], Identity], load_tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        super().__init__(identify, load_tls)
        self._prefix = prefix

    async def publish(self, subject: str, *args: Any, **kwargs: Any) -> None:
        await super().publish(f"{self._prefix}{subject}" if subject.startswith("$KV.") else subject, *args, **kwargs)


async def connect(
    settings: Settings,
    name: str,
    lost_callbacks: list[Callable[[], None]],
    error_handlers: list[Callable[[str], bool]],
    level: int = logging.WARNING,
) -> Client:
    """Connect, and reconnect without end from then on; ``lost_callbacks`` are called whenever the connection breaks.

    ``error_handlers`` are called with each error of the server; what none of them handles (returns True) is
    logged, at ``level``. ``name`` is shown by the server's monitoring. Raises ConnectionFailedError,
    PermissionDeniedError and ConfigurationError.
    """
    logging.getLogger("asyncio").addFilter(_is_worth_logging)
    options = _options(settings)
    client = _client(settings, options)
    has_connected = False
    refusals = ThrottledLog(_log)
    failures: list[Exception] = []
    refused = asyncio.Event()

    async def on_error(error: Exception) -> None:
        failures.append(error)
        del failures[:-8]
        if _is_hopeless(failures, len(options["servers"])):
            refused.set()
        is_disconnect = isinstance(error, nats.errors.UnexpectedEOF)  # by on_disconnected
        if has_connected and _is_refusal(error):
            client.options["reconnect_time_wait"] = _REFUSED_SECONDS
            about = " ".join(filter(None, [f"refuses the credentials ({error}).", expired(settings)]))
            message = "The NATS server at %s %s Trying again; files and the NATS context are read each time."
            refusals.write("refused", message, settings.display_url, about, level=level)
        elif client.is_connected and not is_disconnect and not any(take(str(error)) for take in error_handlers):
            complaint, kind = _complaint(str(error))
            refusals.write(kind, "%s", complaint, level=level)

    async def on_disconnected() -> None:
        if not client.is_closed:
            _log.log(level, "The connection to the NATS server was lost; reconnecting.")
        for callback in lost_callbacks:
            callback()

    async def on_reconnected() -> None:
        client.options["reconnect_time_wait"] = _RECONNECT_SECONDS
        _log.log(level, "Reconnected to the NATS server.")

    connecting = asyncio.ensure_future(
        client.connect(
            name=name,
            error_cb=on_error,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            connect_timeout=2,
            reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # seconds; nats-py only sleeps for it
            max_reconnect_attempts=-1,
            ping_interval=_PING_SECONDS,
            max_outstanding_pings=2,
            pending_size=64 * 1024 * 1024,
            **options,
        )
    )
    try:
        await _wait_until_connected(client, connecting, refused)
    except (TimeoutError, OSError, nats.errors.Error, ValueError) as error:
        cause = _most_telling_error([error, *failures])
        with contextlib.suppress(Exception):
            await client.close()
        raise _connect_error(settings, client.broken_handshake(settings, cause) or cause) from error
    has_connected = True
    return client


def _complaint(words: str) -> tuple[str, str]:
    """What the server complains about, a missing permission with what to grant; and what all of its kind share."""
    violation = violation_in(words)
    if violation is None:
        return f"NATS: {words}", words
    grant = grants([violation])
    return f"{sentence([violation])}. {grant}.", grant


async def _wait_until_connected(client: Client, connecting: asyncio.Future[Any], refused: asyncio.Event) -> None:
    """Wait for the connection, CONNECT_SECONDS at most. Raises what connecting raised, or TimeoutError."""
    refusal: asyncio.Future[Any] = asyncio.ensure_future(refused.wait())
    try:
        await asyncio.wait([connecting, refusal], timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
            raise TimeoutError
        connecting.result()
    except asyncio.CancelledError:
        # nats-py leaves its socket open where it is cancelled, or has just connected.
        connecting.cancel()
        await asyncio.wait([connecting])
        with contextlib.suppress(Exception):
            await client.close()
        raise
    finally:
        refusal.cancel()


def _client(settings: Settings, options: dict[str, Any]) -> Client:
    sources = _identifier(settings), _tls_loader(settings, options.get("tls"))
    client = _DomainClient(f"{settings.api_prefix}.", *sources) if settings.api_prefix else Client(*sources)
    schemes = ("tls://", "nats://") if "tls" in options else ("tls://",)
    client.must_encrypt = any(server.startswith(schemes) for server in options["servers"])
    return client


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Not what asyncio says of nats-py's streams whenever a TLS connection ends."""
    return "eof_received" not in record.getMessage()


def _is_hopeless(failures: Sequence[Exception], servers: int) -> bool:
    """Every server has answered and does not let us in, or nobody is there at the second try either."""
    answers = sum(isinstance(f, ssl.SSLError | nats.errors.SecureConnWantedError) or _is_refusal(f) for f in failures)
    return answers >= servers or sum(isinstance(f, OSError) or _is_refusal(f) for f in failures) > servers


def _most_telling_error(failures: Sequence[Exception]) -> Exception:
    """What says most: a refusal, else the last of them."""
    return next((failure for failure in reversed(failures) if _is_refusal(failure)), failures[-1])


def _is_refusal(error: Exception) -> bool:
    told = str(error).lower()
    return isinstance(error, nats.errors.AuthorizationError) or "authoriz" in told or "authentication" in told


def _connect_error(settings: Settings, cause: Exception) -> Exception:
    url = settings.display_url
    if _is_refusal(cause):
        return PermissionDeniedError(
            " ".join(filter(None, [f"The NATS server at {url} refused the credentials.", expired(settings)])),
            hint="Check --user/--password, --token, --creds, --nkey or the NATS context.",
        )
    if isinstance(cause, nats.errors.SecureConnWantedError):
        return ConnectionFailedError(
            f"The NATS server at {url} does not speak TLS, but the settings ask for it.",
            hint="Switch TLS on in the server, or connect to nats:// without --tlscert, --tlskey and --tlsca.",
        )
    if isinstance(cause, ssl.SSLError):
        return ConnectionFailedError(
            f"The TLS handshake with {url} failed: {_reason(cause)}.", hint="Check --tlsca, --tlscert, --tlskey."
        )
    if isinstance(cause, ValueError):
        return ConfigurationError(f"The connection settings for {url} cannot be used: {cause}.")
    hint = "Start one with `durablectl dev`, or name yours with --nats-url, NATS_URL or --context."
    if settings.url_source:
        hint = f"That URL comes from {settings.url_source}: check it, and whether the server runs and can be reached."
    return ConnectionFailedError(f"No NATS server answers at {url}.", hint=hint)


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"servers": [part.strip() for part in settings.url.split(",") if part.strip()]}
    if settings.inbox_prefix:
        options["inbox_prefix"] = settings.inbox_prefix
    if settings.tls_cert or settings.tls_key or settings.tls_ca:
        options["tls"] = _tls(settings)
    if settings.tls_first:
        options["tls_handshake_first"] = True
    return options


def _identifier(settings: Settings) -> Callable[[], Identity]:
    """What reads the credentials, and again at each call; while that fails, it returns those read last.

    Raises PermissionDeniedError for a file that holds no key.
    """
    last = read_identity(settings)

    def identify() -> Identity:
        nonlocal last
        with contextlib.suppress(DurableError):
            last = read_identity(_renewed(settings))
        return last

    return identify


def _renewed(settings: Settings) -> Settings:
    """The same with what the NATS context says now."""
    if settings.read_again is None or not any(source.startswith("context") for source in settings.sources.values()):
        return settings
    new = settings.read_again()
    changed = {
        name: getattr(new, name)
        for name in (*_FROM_CONTEXT, *_FILES_FROM_CONTEXT)
        if settings.sources.get(name, "").startswith("context") and new.sources.get(name) == settings.sources[name]
    }
    return replace(settings, **changed)


def _tls_loader(settings: Settings, first: ssl.SSLContext | None) -> Callable[[], ssl.SSLContext] | None:
    """What loads the certificates again at each call; while that fails, it returns those loaded last."""
    if first is None:
        return None
    last = first

    def load() -> ssl.SSLContext:
        nonlocal last
        with contextlib.suppress(DurableError):
            last = _tls(_renewed(settings))
        return last

    return load


def _tls(settings: Settings) -> ssl.SSLContext:
    context = _loaded("authority", settings.tls_ca, lambda: ssl.create_default_context(cafile=settings.tls_ca or None))
    if settings.tls_cert:
        key = settings.tls_key or settings.tls_cert
        files = settings.tls_cert if key == settings.tls_cert else f"{settings.tls_cert} with the key {key}"
        # Without the empty password OpenSSL would ask the terminal for that of an encrypted key.
        _loaded("certificate", files, lambda: context.load_cert_chain(settings.tls_cert, key, password=""))
    return context


def _loaded(what: str, file: str, load: Callable[[], _T]) -> _T:
    try:
        return load()
    except (OSError, ValueError) as error:
        raise ConnectionFailedError(
            f"The TLS {what} {file} cannot be loaded: {_reason(error)}.", hint="Check --tlsca, --tlscert and --tlskey."
        ) from error


def _reason(error: Exception) -> str:
    """What OpenSSL says, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if reason := getattr(error, "reason", None):
        return str(reason).replace("_", " ").lower()
    return re.sub(r" ?\(_ssl\.c:\d+\)", "", getattr(error, "strerror", None) or str(error))
