"""Hearing what ``wake.poke`` says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nats.aio.msg import Msg

    from durablectl.storage.connection.store import Store


@contextlib.asynccontextmanager
async def poked(store: Store, processor_id: str, callback: Callable[[str], None]) -> AsyncIterator[None]:
    """``callback`` is called with each invocation id that this processor is poked about."""

    async def on_message(message: Msg) -> None:
        callback(message.data.decode(errors="replace"))

    subscription = await store.nats.subscribe(store.subjects.poke(processor_id), cb=on_message)
    try:
        yield
    finally:
        if not store.nats.is_closed:
            await subscription.unsubscribe()
