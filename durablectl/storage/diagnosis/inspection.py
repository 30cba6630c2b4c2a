"""What a diagnosis asks of the server beside workflows and index: itself, its streams, what waits in COMMANDS."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.storage.commands.command_queue import UNROUTED, consumer_info, consumer_name
from durablectl.storage.connection.store import dotted, require_jetstream, server_defect
from durablectl.storage.streams.direct_get import count, raw_messages
from durablectl.storage.streams.provision import stream_info, wanted_streams
from durablectl.storage.streams.stored_messages import parse_timestamp_us
from durablectl.storage.streams.stream_risks import find_risks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stream_risks import StreamKind, StreamRisk


class ServerInfo(NamedTuple):
    """``seconds`` is how long it takes to answer, ``defect`` a sentence on what its version is known to do."""

    url: str
    version: str
    seconds: float
    defect: str = ""


class StreamCondition(NamedTuple):
    """A stream of the namespace; ``late`` are replicas offline or behind.

    ``messages`` and ``stored_bytes`` are what it holds, ``most_bytes`` is its limit, 0 without one. ``last_write_us``
    is when a message was last stored, ``consumers`` how many there are, ``created`` identifies it among its successors.
    """

    name: str
    kind: StreamKind
    exists: bool
    risks: Sequence[StreamRisk] = ()
    replicas: int = 0
    late: tuple[str, ...] = ()
    is_clustered: bool = False
    messages: int = 0
    stored_bytes: int = 0
    most_bytes: int = 0
    last_write_us: int = 0
    consumers: int = 0
    created: str = ""
    config: Mapping[str, Any] = MappingProxyType({})

    @property
    def differences(self) -> list[str]:
        """The risks as phrases."""
        return [str(risk) for risk in self.risks]

    @property
    def is_readable(self) -> bool:
        """Whether direct gets find what is in it."""
        return self.exists and bool(self.config.get("allow_direct"))


class QuarantinedCommand(NamedTuple):
    """A command that could not be read: where it stood in COMMANDS, and why."""

    sequence: int
    subject: str
    reason: str


async def read_server_info(store: Store) -> ServerInfo:
    """UnsupportedServerError without JetStream."""
    begun = time.monotonic()
    await require_jetstream(store)
    seconds = time.monotonic() - begun
    version = store.server_version
    return ServerInfo(store.settings.display_url, dotted(version), seconds, server_defect(version))


async def read_stream_conditions(store: Store, replicas: int = 0) -> list[StreamCondition]:
    """Every stream of the namespace; ``replicas`` is how many are asked for, 0 for any number."""
    wanted = wanted_streams(store.subjects)
    return list(await asyncio.gather(*(_condition(store, kind, each, replicas) for kind, each in wanted.items())))


async def _condition(store: Store, kind: StreamKind, wanted: dict[str, Any], asked: int) -> StreamCondition:
    name = str(wanted["name"])
    info = await stream_info(store, name)
    if info is None:
        return StreamCondition(name, kind, exists=False)
    cluster = info.get("cluster") or {}
    config, state = info["config"], info["state"]
    late = tuple(
        str(replica["name"])
        for replica in cluster.get("replicas") or ()
        if replica.get("offline") or not replica.get("current")
    )
    return StreamCondition(
        name=name,
        kind=kind,
        exists=True,
        risks=find_risks(kind, wanted, config, asked),
        replicas=int(config.get("num_replicas", 1)),
        late=late,
        is_clustered=bool(cluster.get("name")),
        messages=int(state["messages"]),
        stored_bytes=int(state["bytes"]),
        most_bytes=max(0, int(config.get("max_bytes") or 0)),
        last_write_us=max(0, parse_timestamp_us(state["last_ts"])) if state["last_seq"] else 0,
        consumers=int(state["consumer_count"]),
        created=str(info["created"]),
        config=config,
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
