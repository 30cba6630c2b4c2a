"""Commands in the command stream: published past the clients, counted, and their consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.model.codec import encode_command
from durablectl.storage.commands import command_queue
from durablectl.storage.streams.direct_get import count

if TYPE_CHECKING:
    from durablectl.model.records import Command
    from durablectl.storage.connection.store import Store


async def publish_command(store: Store, command: Command, message_id: str = "", subject: str = "") -> None:
    """Publish a command without the writes that a client makes afterwards, on any ``subject``."""
    headers = {"Nats-Msg-Id": message_id} if message_id else None
    subject = subject or store.subjects.command(command.handler, command.partition_key)
    await store.requests.publish(subject, encode_command(command), headers)


async def handler_consumer(store: Store, handler: Any) -> dict[str, Any]:
    """Return the server's information about the consumer of a handler."""
    info = await command_queue.consumer_info(store, command_queue.consumer_name(handler.name))
    assert info is not None
    return info


async def count_commands(store: Store) -> int:
    """Count the commands that are stored and not acknowledged, and the timers."""
    subjects = store.subjects
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{subjects.commands_stream}")
    return int(answer["state"]["messages"]) - await count(store, subjects.commands_stream, subjects.commands_marker)


async def no_commands_left(store: Store) -> bool:
    return await count_commands(store) == 0
