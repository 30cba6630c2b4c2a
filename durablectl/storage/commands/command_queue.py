"""COMMANDS: publishing commands, and the durable consumer of each handler."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from durablectl.errors import NotProvisionedError, StorageError
from durablectl.model.clock import NANOSECONDS
from durablectl.model.codec import decode_command, encode_command
from durablectl.model.names import is_name
from durablectl.storage.connection.requests import Request
from durablectl.storage.streams.direct_get import count, messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.records import Command
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import Change

UNROUTED = "unrouted"
"""Name of the consumer for commands that carry no handler in their subject."""

_NO_CONSUMER = 10014
_AT_ONCE = 500


def publication(store: Store, command: Command, message_id: str = "") -> Request:
    """The write that stores a command; a second one of this ``message_id`` within two minutes is not stored."""
    subject = store.subjects.command(command.handler, command.partition_key)
    return Request(subject, encode_command(command), {"Nats-Msg-Id": message_id} if message_id else None)


async def command_at(store: Store, sequence: int) -> Command | None:
    """The command stored at a stream sequence, or None once it was acknowledged."""
    body = f'{{"seq":{sequence}}}'.encode()
    reply = await store.requests.send(f"{store.api}.DIRECT.GET.{store.subjects.commands_stream}", body)
    if "Nats-Sequence" not in (reply.headers or {}):
        return None
    return decode_command(reply.data)


async def ids_with_commands(store: Store, handlers: Sequence[str] = (), most: int = 0) -> list[str]:
    """The ids of what commands are about that no processor has taken, or that are in work; of all without ``handlers``.

    Timers that are not due yet are not among them. What cannot be read is left out. With ``most``, the oldest of each
    handler, at most so many.
    """
    subjects = store.subjects
    found: dict[str, None] = {}
    # Without a stream there is none.
    with contextlib.suppress(NotProvisionedError):
        for each in map(subjects.handler_commands, handlers) if handlers else [subjects.all_commands]:
            read = 0
            async for message in messages(store, subjects.commands_stream, each):
                with contextlib.suppress(StorageError):
                    found[decode_command(message.data).invocation_id] = None
                read += 1
                if read == most:
                    break
    return [invocation_id for invocation_id in found if is_name(invocation_id)]


def consumer_name(handler: str) -> str:
    return f"handler-{handler}"


async def ensure_consumer(store: Store, name: str, filter_subject: str, ack_wait: float) -> list[str]:
    """Create or update a consumer; what an update changed is returned as phrases ("ack_wait from 300 s to 5 s")."""
    stream = store.subjects.commands_stream
    existing = await consumer_info(store, name)
    configuration = {
        "durable_name": name,
        "name": name,
        "filter_subject": filter_subject,
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait * NANOSECONDS),
        "deliver_policy": "all",
        "replay_policy": "instant",
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 2048,
    }
    changes = []
    if existing is not None:
        before = existing["config"]
        if before.get("ack_wait", 0) != configuration["ack_wait"]:
            changes.append(f"ack_wait from {before.get('ack_wait', 0) / NANOSECONDS:g} s to {ack_wait:g} s")
        # 0 stands for the server's own limit, which is none for deliveries and 1,000 for what is under way.
        changes += [
            f"{name} from {before[name]:,} to no limit"
            for name in ("max_ack_pending", "max_deliver")
            if before.get(name, -1) > 0
        ]
        if not changes:
            return []
    await store.requests.call(
        f"{store.api}.CONSUMER.CREATE.{stream}.{name}.{filter_subject}",
        {"stream_name": stream, "config": configuration},
    )
    return changes


async def consumer_info(store: Store, name: str) -> dict[str, Any] | None:
    """The consumer's information as the JetStream API gives it, or None when there is no such consumer."""
    try:
        return await store.requests.call(f"{store.api}.CONSUMER.INFO.{store.subjects.commands_stream}.{name}")
    except NotProvisionedError:
        return None
    except StorageError as error:
        if f"(error {_NO_CONSUMER})" in error.message:
            return None
        raise


async def list_unacknowledged(store: Store, handler: str, info: dict[str, Any]) -> list[Change]:
    """What the consumer of this handler had delivered when it gave ``info``, and nobody has acknowledged."""
    stream, filter_subject = store.subjects.commands_stream, store.subjects.handler_commands(handler)
    floor, last = info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
    pending = info["num_ack_pending"]
    found: list[Change] = []
    if not pending:
        return found
    # No more than these: behind them lies the backlog.
    async for change in messages(store, stream, filter_subject, after=floor, batch=min(pending, _AT_ONCE)):
        if change.sequence > last:
            break
        found.append(change)
        if len(found) == pending:
            break
    return found


async def count_quarantined(store: Store) -> int:
    """How many commands were set aside because they could not be read."""
    return await count(store, store.subjects.state_stream, store.subjects.rejected("*"))


async def quarantine(store: Store, sequence: int, subject: str, data: bytes, why: str) -> None:
    """Keep a command that cannot be read, with where it stood and why, outside the work queue."""
    headers = {"Durable-Subject": subject, "Durable-Reason": why}
    await store.requests.publish(store.subjects.rejected(sequence), data, headers)
