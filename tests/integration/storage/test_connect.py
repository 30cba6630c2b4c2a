"""Connecting, as far as it is not about credentials."""

from __future__ import annotations

import asyncio
import gc

import pytest

from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store


@pytest.mark.parametrize("delay", [0, 0.0005, 0.001, 0.002, 0.004, 0.008])
async def test_cancelled_connecting_leaves_no_socket_open(settings, delay):
    """An open socket would be reported by the garbage collector, which fails the test."""

    async def connect() -> None:
        async with open_store(settings):
            await asyncio.sleep(60)

    for _ in range(5):
        task = asyncio.create_task(connect())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
    gc.collect()


@pytest.mark.parametrize("delay", [0, 0.0005, 0.001, 0.002, 0.004])
async def test_closing_while_it_reconnects_leaves_no_socket_open(tmp_path, delay):
    """An open socket would be reported by the garbage collector, which fails the test."""
    with EmbeddedServer(tmp_path) as server:
        for _ in range(3):
            async with open_store(Settings(url=server.url, timeout=30)) as store:
                await store.nats.force_reconnect()
                await asyncio.sleep(delay)
            assert store.nats.is_closed
    gc.collect()
