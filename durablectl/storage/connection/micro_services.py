"""Calling NATS micro services, and hosting them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import nats.errors
import nats.micro
from nats.micro.service import EndpointConfig, ServiceConfig

from durablectl.storage.connection.permissions import Violation, grants, pattern_for, permission_denied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.micro.request import Request
    from nats.micro.service import Service

    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_DISCOVERY = "$SRV."
CONTENT_TYPE = "Content-Type"
ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_HEADERS = 64
"""Bytes that the header of an answer takes at most; the server counts them too."""


class Reply(NamedTuple):
    """What a service answered. ``error_code`` is empty unless it answered with the micro protocol's error headers."""

    data: bytes
    content_type: str
    error: str
    error_code: str


async def call(store: Store, subject: str, payload: bytes, content_type: str, timeout: float) -> Reply | None:
    """One request to a service; None when nobody listens on ``subject``.

    Raises NoAnswerError after ``timeout`` seconds and ConnectionFailedError while the server is out of reach.
    """
    message = await store.requests.send(subject, payload, {CONTENT_TYPE: content_type}, timeout)
    headers = message.headers or {}
    if headers.get("Status") == "503":
        return None
    return Reply(
        message.data,
        headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower(),
        headers.get(ERROR, ""),
        headers.get(ERROR_CODE, ""),
    )


class Incoming(NamedTuple):
    """A request that reached a hosted endpoint."""

    data: bytes
    content_type: str


class Outgoing(NamedTuple):
    """The answer to it; ``error_code`` turns it into the micro protocol's error headers."""

    data: bytes = b""
    content_type: str = JSON
    error: str = ""
    error_code: str = ""


class Endpoint(NamedTuple):
    name: str
    subject: str
    handle: Callable[[Incoming], Awaitable[Outgoing]]


class ServiceHost:
    """One NATS micro service.

    Requests run side by side; nats-py alone would serve an endpoint's one after the other.
    """

    def __init__(self, store: Store, name: str, version: str, description: str) -> None:
        self._store = store
        self._config = ServiceConfig(name=name, version=version, description=description)
        self._running: set[asyncio.Task[None]] = set()
        self._micro: Service | None = None

    async def start(self, endpoints: list[Endpoint]) -> None:
        """Serve them. PermissionDeniedError where the credentials may not subscribe to one of them."""
        with self._store.requests.record_violations() as violations:
            self._micro = await nats.micro.add_service(self._store.nats, self._config)
            for endpoint in endpoints:
                config = EndpointConfig(endpoint.name, self._spawner(endpoint), subject=endpoint.subject)
                await self._micro.add_endpoint(config)
            await self._store.flush()
        if refused := [each for each in violations if not each.subject.startswith(_DISCOVERY)]:
            raise permission_denied(refused)
        if hidden := [Violation(each.action, pattern_for(each)) for each in violations]:
            _log.warning("The service %s is hidden from `nats micro`: %s.", self._config.name, grants(hidden))

    async def stop(self, grace: float) -> None:
        """Take no more requests, and give those under way ``grace`` seconds."""
        if self._micro is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._micro.stop()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()

    def _spawner(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[None]]:
        async def spawn(request: Request) -> None:
            task = asyncio.create_task(_answer(self._store, endpoint, request))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        return spawn


async def _answer(store: Store, endpoint: Endpoint, request: Request) -> None:
    headers: dict[str, Any] = request.headers or {}
    content_type = headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()
    answer = await endpoint.handle(Incoming(request.data, content_type))
    limit = store.max_payload - _HEADERS
    if len(answer.data) > limit:
        size = len(answer.data)
        message = f"the answer of {size:,} bytes is over the server's maximum payload of {store.max_payload:,} bytes"
        answer = Outgoing(error=message, error_code="500")
    # A caller that is gone, or asked for no answer, is nobody's error.
    with contextlib.suppress(nats.errors.Error, ValueError):
        if answer.error_code:
            await request.respond_error(answer.error_code, answer.error, answer.data)
        else:
            await request.respond(answer.data, headers={CONTENT_TYPE: answer.content_type})
