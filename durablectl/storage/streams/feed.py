"""Following a stream: an ordered consumer that is pushed to, and that loses nothing across reconnections."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

import nats.errors

from durablectl.errors import ConnectionFailedError, DurableError, StorageError
from durablectl.model.clock import NANOSECONDS
from durablectl.storage.streams.direct_get import get_many_last
from durablectl.storage.streams.stored_messages import DELIVERY_PREFIX, Change, delivery_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from durablectl.storage.connection.store import Store

_HEARTBEAT_SECONDS = 2
_SILENCE_SECONDS = 3 * _HEARTBEAT_SECONDS
_CHECK_SECONDS = 0.5
_INACTIVE_SECONDS = 30
_FINAL_WAIT_SECONDS = 0.3
_MIN_WAIT_SECONDS = 0.01
_MAX_UNSTABLE = 100
_CONTROL = "100"

LAST = "last_per_subject"
NEW = "new"


class StreamRestoredError(StorageError):
    """The stream ends before what has been read of it: the server came back with an older copy of it."""


class Feed:
    """Iterates over changes without end; open it with ``follow``.

    ``snapshot`` is how many messages the server held for it when it began: read that many and the past is known.
    """

    def __init__(self, store: Store, stream: str, filters: Sequence[str], start: str | int) -> None:
        self.snapshot = 0
        self._store = store
        self._stream = stream
        self._filters = list(filters)
        self._start = start
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._consumer = ""
        self._consumer_sequence = 0
        self._stream_sequence = 0
        self._reconnects = 0
        self._loop = asyncio.get_running_loop()
        self._last_message_at = self._loop.time()

    async def open(self) -> None:
        self.snapshot = await self._create()
        if not self.snapshot and self._start == LAST and await self._has_past():
            self.snapshot = 1

    async def _has_past(self) -> bool:
        """Whether there is a past after all: nats-server counts none where the only message is being replaced."""
        found = await get_many_last(self._store, self._stream, self._filters)
        return found is None or bool(found.messages)

    async def close(self) -> None:
        await self._delete()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Change:
        while True:
            change = await self.next_or_end()
            if change is not None:
                return change

    async def next_or_end(self) -> Change | None:
        """The next change; None when the server says that it has sent all that there is."""
        while True:
            message = await self._next_message()
            if not message.reply.startswith(DELIVERY_PREFIX):
                if self._reveals_end(message):
                    return None
                continue
            change = self._accept(message)
            if change is not None:
                return change

    async def _on_message(self, message: Msg) -> None:
        self._last_message_at = self._loop.time()
        if message.reply.startswith(DELIVERY_PREFIX):
            self._queue.put_nowait(message)
        elif (message.headers or {}).get("Status") == _CONTROL:
            await self._control(message)

    async def _control(self, message: Msg) -> None:
        """Answer flow control; put the heartbeat that shows a loss into the queue, behind what came before it."""
        headers = message.headers or {}
        flow_control = message.reply or headers.get("Nats-Consumer-Stalled", "")
        if flow_control:
            with contextlib.suppress(nats.errors.Error):
                await self._store.nats.publish(flow_control)
        if "Nats-Last-Consumer" in headers:
            self._queue.put_nowait(message)

    async def _next_message(self) -> Msg:
        while True:
            if not self._queue.empty():
                message = self._queue.get_nowait()
            else:
                try:
                    # Not wait_for: with a message that comes at the same moment, Python 3.11's drops a cancellation.
                    async with asyncio.timeout(_CHECK_SECONDS):
                        message = await self._queue.get()
                except TimeoutError:
                    if self._is_cut_off():
                        await self._recreate()
                    continue
            if message.reply.startswith(DELIVERY_PREFIX) or not self._reveals_loss(message):
                return message
            await self._recreate()

    def _reveals_loss(self, heartbeat: Msg) -> bool:
        return heartbeat.subject == self._inbox and _last_sent(heartbeat) > self._consumer_sequence

    def _reveals_end(self, heartbeat: Msg) -> bool:
        """A server with nothing to send, and not because it waits for us."""
        is_stalled = "Nats-Consumer-Stalled" in (heartbeat.headers or {})
        return heartbeat.subject == self._inbox and not is_stalled and _last_sent(heartbeat) == self._consumer_sequence

    def _is_cut_off(self) -> bool:
        if not self._store.is_connected:
            return False
        reconnects: int = self._store.nats.stats["reconnects"]
        return reconnects != self._reconnects or self._loop.time() - self._last_message_at > _SILENCE_SECONDS

    def _accept(self, message: Msg) -> Change | None:
        fields = delivery_fields(message.reply)
        if fields.consumer != self._consumer or fields.consumer_sequence != self._consumer_sequence + 1:
            # Left over from before a reconnection, or behind a loss that the next heartbeat will show.
            return None
        self._consumer_sequence = fields.consumer_sequence
        self._stream_sequence = fields.stream_sequence
        return Change(
            subject=message.subject,
            data=message.data,
            sequence=fields.stream_sequence,
            timestamp_us=fields.timestamp_us,
            remaining=fields.remaining,
            deleted="KV-Operation" in (message.headers or {}),
        )

    async def _create(self) -> int:
        self._consumer = f"durablectl-{secrets.token_hex(8)}"
        self._consumer_sequence = 0
        self._reconnects = self._store.nats.stats["reconnects"]
        self._last_message_at = self._loop.time()
        # One inbox a consumer: the server delivers only where it has seen interest in this very subject, no wildcard.
        self._inbox = self._store.nats.new_inbox()
        self._subscription = await self._store.nats.subscribe(self._inbox, cb=self._on_message)
        config: dict[str, Any] = {
            "name": self._consumer,
            "deliver_subject": self._inbox,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": _HEARTBEAT_SECONDS * NANOSECONDS,
            "inactive_threshold": _INACTIVE_SECONDS * NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
            "filter_subjects": self._filters,
        }
        if self._stream_sequence:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self._stream_sequence + 1}
        elif isinstance(self._start, int):
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self._start}
        else:
            config["deliver_policy"] = self._start
        answer = await self._store.requests.call(
            f"{self._store.api}.CONSUMER.CREATE.{self._stream}.{self._consumer}",
            {"stream_name": self._stream, "config": config},
        )
        if config["deliver_policy"] == NEW:
            # Remembered, so that what is stored while a lost connection comes back is not missed.
            self._start = int(answer["delivered"]["stream_seq"]) + 1
        return int(answer.get("num_pending", 0))

    async def _recreate(self) -> None:
        while True:
            await self._delete()
            try:
                await self._check_stream_end()
                await self._create()
            except StreamRestoredError:
                raise
            except (DurableError, nats.errors.Error):
                await asyncio.sleep(_CHECK_SECONDS)
            else:
                return

    async def _check_stream_end(self) -> None:
        """A consumer that begins behind the end would be silent until the stream has come that far again."""
        read = self._stream_sequence or (self._start - 1 if isinstance(self._start, int) else 0)
        info = await self._store.requests.call(f"{self._store.api}.STREAM.INFO.{self._stream}")
        last = int(info["state"]["last_seq"])
        if last < read:
            raise StreamRestoredError(
                f"The stream {self._stream} was put back to an older state, as from a backup: "
                f"it ends at {last:,}, and had come to {read:,} before.",
                hint="Run it again: what had happened since that older state is undone, and may happen again.",
            )

    async def _delete(self) -> None:
        """Without interest the server removes the consumer by itself after a while; this only makes it sooner."""
        with contextlib.suppress(nats.errors.Error):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
        if self._store.is_connected:
            await self._store.requests.send_without_wait(
                f"{self._store.api}.CONSUMER.DELETE.{self._stream}.{self._consumer}"
            )


async def read_snapshot(store: Store, stream: str, filters: Sequence[str]) -> AsyncIterator[Change]:
    """The last message of each subject, as of now; one that is replaced meanwhile comes once, as it was or as it is.

    It ends, whatever others do: what was counted when it began and has been removed since never comes, and what is
    written all the time may be away at the very moment when all else has been sent. Raises ConnectionFailedError when
    the server falls silent before it has sent all.
    """
    seen: set[str] = set()
    loop = asyncio.get_running_loop()
    async with follow(store, stream, filters) as feed:
        end = 0.0
        while len(seen) < feed.snapshot:
            is_near = end and len(seen) >= feed.snapshot - _MAX_UNSTABLE
            try:
                async with asyncio.timeout(max(_MIN_WAIT_SECONDS, end - loop.time()) if is_near else _SILENCE_SECONDS):
                    change = await feed.next_or_end()
            except TimeoutError:
                if is_near and store.is_connected:
                    return
                raise ConnectionFailedError(
                    f"The NATS server fell silent after {len(seen):,} of {feed.snapshot:,} messages of {stream}.",
                    hint="Run it again.",
                ) from None
            if change is None:
                return
            end = 0.0 if change.remaining else end or loop.time() + _FINAL_WAIT_SECONDS
            if change.subject not in seen:
                seen.add(change.subject)
                yield change


def _last_sent(heartbeat: Msg) -> int:
    """By the consumer's own count."""
    return int((heartbeat.headers or {})["Nats-Last-Consumer"])


@contextlib.asynccontextmanager
async def follow(store: Store, stream: str, filters: Sequence[str], start: str | int = LAST) -> AsyncIterator[Feed]:
    """A feed of the messages on these subjects.

    ``start`` is LAST (the last message of each subject, then changes), NEW (changes only) or a stream sequence from
    which on everything is delivered. The server's consumer is deleted at the end.
    """
    feed = Feed(store, stream, filters, start)
    await feed.open()
    try:
        yield feed
    finally:
        await feed.close()
