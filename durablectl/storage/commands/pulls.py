"""Taking commands from a consumer: pulls that stay open, and never ask for more than there are free slots."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from typing import TYPE_CHECKING

import nats.errors

from durablectl.errors import ConnectionFailedError, DurableError
from durablectl.model.clock import NANOSECONDS
from durablectl.model.kinds import CommandKind
from durablectl.model.throttled_log import ThrottledLog
from durablectl.storage.commands.command_queue import publication
from durablectl.storage.connection.inline_dispatch import InlineDispatch
from durablectl.storage.streams.stored_messages import DELIVERY_PREFIX, delivery_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from durablectl.model.records import Command
    from durablectl.storage.connection.store import Store

_throttled = ThrottledLog(logging.getLogger(__name__))

PULL_SECONDS = 30
"""For how long the server serves a pull."""
_HEARTBEAT_SECONDS = 5
_SILENCE_SECONDS = 3 * _HEARTBEAT_SECONDS
_HEARTBEAT = "100"
_NO_RESPONDERS = "503"
_PAUSE_SECONDS = 0.25
_NAK_SECONDS = 60
_IN_PROGRESS = b"+WPI"


class Delivery:
    """A command that JetStream handed out, until it is acknowledged or handed back."""

    __slots__ = ("_store", "attempt", "consumer", "data", "reply", "sequence", "subject", "timestamp_us")

    def __init__(self, store: Store, message: Msg, consumer: str) -> None:
        self._store = store
        self.consumer = consumer
        self.data = message.data
        self.subject = message.subject
        self.reply = message.reply
        fields = delivery_fields(message.reply)
        self.attempt = fields.attempt
        """How many times JetStream has delivered this command; 1 is the first."""
        self.sequence = fields.stream_sequence
        """Its sequence in the stream COMMANDS."""
        self.timestamp_us = fields.timestamp_us
        """When it was stored, in microseconds."""

    async def ack(self) -> None:
        await self._reply(b"+ACK")

    async def nak(self, delay: float = 0) -> None:
        """Let JetStream deliver it again, to whoever asks, after ``delay`` seconds.

        A cluster without a leader does not hear it, and would wait for ``ack_wait``: it is told until it confirms.
        """
        payload = f'-NAK {{"delay":{int(delay * NANOSECONDS)}}}'.encode() if delay else b"-NAK"
        requests, loop = self._store.requests, asyncio.get_running_loop()
        if not requests.is_cluster:
            await self._reply(payload)
            return
        deadline = loop.time() + _NAK_SECONDS
        while loop.time() < deadline:
            with contextlib.suppress(ConnectionFailedError):
                confirmation = await requests.send(self.reply, payload)
                if not confirmation.headers:
                    return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def in_progress(self) -> None:
        """Start its ``ack_wait`` anew."""
        await self._reply(_IN_PROGRESS)

    async def _reply(self, payload: bytes) -> None:
        # Lost with the connection, it is delivered again, and found to be done.
        with contextlib.suppress(nats.errors.Error):
            await self._store.nats.publish(self.reply, payload)


class LocalDelivery(Delivery):
    """Stands for a delivery where a processor takes a command by itself; handing back calls any other.

    ``timestamp_us`` is when the command was stored, if it was (microseconds).
    """

    __slots__ = ("_command", "is_redelivered")

    def __init__(self, store: Store, command: Command, timestamp_us: int = 0) -> None:
        self._store = store
        self._command = command
        self.consumer = self.subject = self.reply = ""
        self.data = b""
        self.attempt = 1
        self.sequence = 0
        self.timestamp_us = timestamp_us
        self.is_redelivered = False

    async def nak(self, delay: float = 0) -> None:
        """Until that is stored: there may be no other command that leads to the invocation."""
        if self._command.kind == CommandKind.FIRE:
            return  # What it starts is named after the moment at which it was stored: only itself can come again.
        self.is_redelivered = True
        while True:
            await asyncio.sleep(delay)
            with contextlib.suppress(DurableError):
                await self._store.requests.exchange([publication(self._store, self._command)])
                return
            delay = max(delay, _PAUSE_SECONDS)

    async def _reply(self, payload: bytes) -> None:
        """Nobody waits for an answer."""


async def report_progress(store: Store, reply: str) -> None:
    """Restart the ``ack_wait`` of a delivery, by its reply subject, over another connection than it came by."""
    with contextlib.suppress(nats.errors.Error):
        await store.nats.publish(reply, _IN_PROGRESS)


class PullRequests:
    """The open pull requests on one consumer.

    ``on_delivery`` is called with each command; ``on_shortfall`` whenever fewer are outstanding than were asked for;
    ``recreate`` creates the consumer again after its deletion.
    """

    def __init__(
        self,
        store: Store,
        consumer: str,
        on_delivery: Callable[[Delivery], None],
        on_shortfall: Callable[[], None],
        recreate: Callable[[], Awaitable[object]],
    ) -> None:
        self.consumer = consumer
        self.outstanding = 0
        self._store = store
        self._on_delivery = on_delivery
        self._on_shortfall = on_shortfall
        self._recreate = recreate
        self._subject = f"{store.api}.CONSUMER.MSG.NEXT.{store.subjects.commands_stream}.{consumer}"
        self._inbox = ""
        self._numbers = itertools.count()
        self._subscription: Subscription | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._last_message_at = 0.0
        self._recreating: asyncio.Task[None] | None = None
        self._connection = 0

    async def start(self) -> None:
        self._inbox = self._store.nats.new_inbox()
        dispatch = InlineDispatch(self._on_message)
        self._subscription = await self._store.nats.subscribe(self._inbox + ".*", future=dispatch)
        self._watchdog = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Without interest in the inbox the server drops the open pulls; what it has sent already still arrives."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._recreating is not None:
            self._recreating.cancel()
        if self._subscription is not None and self._store.is_connected:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                async with asyncio.timeout(self._store.settings.timeout):
                    await self._subscription.drain()  # type: ignore[no-untyped-call]

    async def pull(self, count: int) -> None:
        """Ask for ``count`` more commands."""
        self.outstanding += count
        self._last_message_at = asyncio.get_running_loop().time()
        body = {
            "batch": count,
            "expires": PULL_SECONDS * NANOSECONDS,
            "idle_heartbeat": _HEARTBEAT_SECONDS * NANOSECONDS,
        }
        try:
            await self._store.nats.publish(
                self._subject, json.dumps(body).encode(), reply=f"{self._inbox}.{next(self._numbers)}"
            )
        except nats.errors.Error:
            self.outstanding -= count

    def _on_message(self, message: Msg) -> None:
        self._last_message_at = asyncio.get_running_loop().time()
        if message.reply.startswith(DELIVERY_PREFIX):
            self.outstanding = max(0, self.outstanding - 1)
            self._on_delivery(Delivery(self._store, message, self.consumer))
            return
        headers = message.headers or {}
        status = headers.get("Status", "")
        if status == _HEARTBEAT:
            return
        unfilled = headers.get("Nats-Pending-Messages")
        self.outstanding = max(0, self.outstanding - int(unfilled)) if unfilled is not None else 0
        if status == _NO_RESPONDERS or "Consumer Deleted" in headers.get("Description", ""):
            if self._recreating is None or self._recreating.done():
                self._recreating = asyncio.create_task(self._recreate_consumer())
        else:
            self._on_shortfall()

    async def _recreate_consumer(self) -> None:
        """Someone deleted the consumer, or its stream has no leader for a while."""
        await asyncio.sleep(_PAUSE_SECONDS)
        try:
            await self._recreate()
        except DurableError as error:
            message = "The consumer %s is gone and cannot be made again yet: %s"
            _throttled.write(type(error).__name__, message, self.consumer, error)
        self._on_shortfall()

    async def _watch(self) -> None:
        """Open pulls do not survive a reconnection, nor the loss of the consumer's leader: notice and ask again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.25)
            connection = self._store.nats.stats["reconnects"]
            silent = self.outstanding and loop.time() - self._last_message_at > _SILENCE_SECONDS
            if silent or (connection != self._connection and self._store.is_connected):
                self._connection = connection
                self.outstanding = 0
                self._on_shortfall()
