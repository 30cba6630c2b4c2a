"""The open connection that every other module of storage works through."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import nats.errors

from durablectl.errors import ConnectionFailedError, UnsupportedServerError
from durablectl.model.clock import SteadyClock
from durablectl.storage.connection import crash_points
from durablectl.storage.connection.connect import connect
from durablectl.storage.connection.rejections import NoAnswerError
from durablectl.storage.connection.requests import Request, Requests
from durablectl.storage.subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.settings import Settings
    from durablectl.storage.connection.connect import Client

_wire = logging.getLogger("durablectl.wire")

_OLDEST_SERVER = (2, 12, 0)
_FIRST_WITHOUT_DEADLOCKS = (2, 12, 4)
"""Before 2.12.2 a batched direct get that meets a write, and before 2.12.4 two locks, may stop JetStream for good."""


class Store:
    """A connection, the names of its namespace, and requests over it."""

    def __init__(self, settings: Settings, client: Client, requests: Requests) -> None:
        self.settings = settings
        self.subjects = Subjects(settings.namespace)
        self.nats = client
        self.requests = requests
        self.clock = SteadyClock()
        """A processor keeps it in agreement with the server's, which fires its timers."""
        self.reached_sequence = 0
        """The sequence up to which the stream of states is known to have come."""
        self.known_handlers: set[str] = set()
        """Handlers that this process has entered, and ``handler.waits``, so that queries can name them."""
        self.has_warned_of_audit = False
        """A change could not be recorded in the audit trail; that is said once per connection."""
        self.api = settings.api_prefix or "$JS.API"

    @property
    def server_version(self) -> tuple[int, int, int]:
        """Of the nats-server that this connection leads to."""
        version = self.nats.connected_server_version
        return version.major, version.minor, version.patch

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message that the server takes, headers included."""
        return self.nats.max_payload

    @property
    def record_headroom(self) -> int:
        """Bytes of ``max_payload`` that inputs and workflow state leave free for what the engine adds to a record."""
        return min(64 * 1024, self.max_payload // 4)

    @property
    def is_connected(self) -> bool:
        return self.nats.is_connected

    @property
    def reconnects(self) -> int:
        """How often the connection was lost and came back."""
        return int(self.nats.stats["reconnects"])

    async def flush(self) -> None:
        """Wait until everything published so far has reached the server. Raises NoAnswerError."""
        # nats-py writes the PING of a flush ahead of what it has buffered, which it writes out meanwhile: hence twice.
        try:
            for _ in range(2):
                await self.nats.flush(int(self.settings.timeout))
        except nats.errors.Error as error:
            raise NoAnswerError(f"The NATS server did not confirm what was sent: {error}.") from error


@contextlib.asynccontextmanager
async def open_store(
    settings: Settings, *, name: str = "durablectl", is_auxiliary: bool = False
) -> AsyncIterator[Store]:
    """Connect and check the server; ``name`` is shown by its monitoring.

    An auxiliary connection exists beside another one of the process: it is lost in silence and has no crash points.
    Raises ConnectionFailedError, PermissionDeniedError, UnsupportedServerError.
    """
    lost_callbacks: list[Callable[[], None]] = []
    error_handlers: list[Callable[[str], bool]] = []
    client = await connect(
        settings, name, lost_callbacks, error_handlers, logging.DEBUG if is_auxiliary else logging.WARNING
    )
    requests = Requests(client, settings.timeout)
    lost_callbacks.append(requests.connection_lost)
    error_handlers.append(requests.handle_server_error)
    server = client._server_info  # noqa: SLF001  # there is no other way to its name
    _wire.debug("connected to the server %s, version %s", server.get("server_name"), server.get("version"))
    if not is_auxiliary:
        crash_points.arm(client)
    try:
        store = Store(settings, client, requests)
        _check_version(store.server_version, settings)
        await requests.start()
        yield store
    finally:
        try:
            await requests.stop()
        finally:
            with contextlib.suppress(Exception):
                await client.close()


def _check_version(version: tuple[int, int, int], settings: Settings) -> None:
    if version < _OLDEST_SERVER:
        raise UnsupportedServerError(
            f"The NATS server is version {dotted(version)}; durablectl needs 2.12 or newer.",
            hint=f"Upgrade nats-server{'' if settings.url_source else ', or let `durablectl dev` start one'}.",
        )


def server_defect(version: tuple[int, int, int]) -> str:
    """A sentence on what a nats-server of this version is known to do to its users; "" for a good one."""
    if version >= _FIRST_WITHOUT_DEADLOCKS:
        return ""
    return (
        f"nats-server {dotted(version)} has deadlocks after which JetStream answers nothing until it is restarted; "
        f"they are mended in {dotted(_FIRST_WITHOUT_DEADLOCKS)}."
    )


def dotted(version: tuple[int, int, int]) -> str:
    """As servers write it: ``2.12.4``."""
    return ".".join(map(str, version))


def purge_request(store: Store, stream: str, subject: str, before: int = 0) -> Request:
    """The request that removes every message on ``subject`` from ``stream``, or those below a stream sequence."""
    limit = f',"seq":{before}' if before else ""
    return Request(f"{store.api}.STREAM.PURGE.{stream}", f'{{"filter":"{subject}"{limit}}}'.encode())


async def require_jetstream(store: Store) -> None:
    """UnsupportedServerError unless JetStream is on for this account."""
    reply = await store.requests.send(f"{store.api}.INFO", b"")
    if (reply.headers or {}).get("Status") == "503" or b'"err_code":10039' in reply.data:
        raise UnsupportedServerError(
            "JetStream is not enabled on the NATS server.",
            hint="Start it with `nats-server -js`, or enable JetStream for this account.",
        )
    if not reply.data:
        raise ConnectionFailedError("The NATS server did not answer a JetStream request.")
