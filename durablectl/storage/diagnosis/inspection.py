"""What a diagnosis asks of the server beside workflows and index: itself, its streams, what waits in COMMANDS."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from durablectl.storage.commands.command_queue import UNROUTED, consumer_info, consumer_name
from durablectl.storage.connection.store import require_jetstream
from durablectl.storage.streams.direct_get import count, raw_messages
from durablectl.storage.streams.provision import differences, stream_configurations, stream_info

if TYPE_CHECKING:
    from collections.abc import Collection

    from durablectl.storage.connection.store import Store


class Server(NamedTuple):
    """``seconds`` is how long it takes to answer."""

    url: str
    version: str
    seconds: float


class StreamCondition(NamedTuple):
    """A stream of the namespace; ``differences`` are phrases, ``late`` are replicas offline or behind."""

    name: str
    exists: bool
    differences: list[str]
    replicas: int = 0
    late: tuple[str, ...] = ()
    is_clustered: bool = False


class QuarantinedCommand(NamedTuple):
    """A command that could not be read: where it stood in COMMANDS, and why."""

    sequence: int
    subject: str
    reason: str


async def server(store: Store) -> Server:
    """UnsupportedServerError without JetStream."""
    version = store.nats.connected_server_version
    begun = time.monotonic()
    await require_jetstream(store)
    seconds = time.monotonic() - begun
    return Server(store.settings.display_url, f"{version.major}.{version.minor}.{version.patch}", seconds)


async def streams(store: Store) -> list[StreamCondition]:
    return [await _condition(store, wanted) for wanted in stream_configurations(store.subjects)]


async def _condition(store: Store, wanted: dict[str, object]) -> StreamCondition:
    name = str(wanted["name"])
    info = await stream_info(store, name)
    if info is None:
        return StreamCondition(name, exists=False, differences=[])
    cluster = info.get("cluster") or {}
    late = tuple(
        str(replica["name"])
        for replica in cluster.get("replicas") or ()
        if replica.get("offline") or not replica.get("current")
    )
    return StreamCondition(
        name=name,
        exists=True,
        differences=differences(wanted, info["config"]),
        replicas=int(info["config"].get("num_replicas", 1)),
        late=late,
        is_clustered=bool(cluster.get("name")),
    )


async def waiting_commands(store: Store, handlers: Collection[str]) -> dict[str, int]:
    """Commands that no processor has been handed yet, by handler; only where there are any.

    UNROUTED stands for those of other implementations, which name no handler in their subject.
    """
    subjects = store.subjects
    filters = {handler: (consumer_name(handler), subjects.handler_commands(handler)) for handler in handlers}
    filters[UNROUTED] = (UNROUTED, subjects.unrouted_commands)
    names = sorted(filters)
    numbers = await asyncio.gather(*(_waiting(store, *filters[name]) for name in names))
    return {name: number for name, number in zip(names, numbers, strict=True) if number}


async def _waiting(store: Store, consumer: str, filter_subject: str) -> int:
    info = await consumer_info(store, consumer)
    if info is not None:
        return int(info["num_pending"])
    # No processor has ever had this handler.
    return await count(store, store.subjects.commands_stream, filter_subject)


async def newest_quarantined(store: Store, number: int) -> list[QuarantinedCommand]:
    """The last ``number`` commands that were set aside, the newest first."""
    newest: deque[QuarantinedCommand] = deque(maxlen=number)
    async for message, _ in raw_messages(store, store.subjects.state_stream, store.subjects.rejected("*")):
        about = message.headers or {}
        stood = about["Nats-Subject"].rpartition(".")[2]
        newest.append(
            QuarantinedCommand(
                int(stood) if stood.isdigit() else 0,
                about.get("Durable-Subject", ""),
                about.get("Durable-Reason", ""),
            )
        )
    return [*reversed(newest)]
