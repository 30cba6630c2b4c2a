"""Notifications of a processor: plain NATS messages that no stream stores."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nats.aio.msg import Msg

    from durablectl.storage.connection.store import Store


async def notify_processor(store: Store, processor_id: str, invocation_id: str) -> None:
    """Have a processor read a state again now. The message may be lost: processors read from time to time anyway."""
    await store.nats.publish(store.subjects.notifications(processor_id), invocation_id.encode())


@contextlib.asynccontextmanager
async def subscribe_notifications(
    store: Store, processor_id: str, callback: Callable[[str], None]
) -> AsyncIterator[None]:
    """``callback`` is called with each invocation id of which this processor is notified."""

    async def on_message(message: Msg) -> None:
        callback(message.data.decode(errors="replace"))

    subscription = await store.nats.subscribe(store.subjects.notifications(processor_id), cb=on_message)
    try:
        yield
    finally:
        if not store.nats.is_closed:
            await subscription.unsubscribe()
