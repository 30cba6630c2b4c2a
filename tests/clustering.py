"""Three real nats-servers that form a JetStream cluster on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.store import open_store
from support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SIZE = 3


class Cluster:
    """``servers`` by name."""

    def __init__(self, directory: Path) -> None:
        routes = _free_ports(SIZE)
        urls = ", ".join(f"nats-route://127.0.0.1:{port}" for port in routes)
        self.servers: dict[str, EmbeddedServer] = {}
        for number, port in enumerate(routes):
            config = f'server_name: n{number}\ncluster {{name: tested, listen: "127.0.0.1:{port}", routes: [{urls}]}}\n'
            self.servers[f"n{number}"] = EmbeddedServer(directory / f"n{number}", config=config)

    @property
    def settings(self) -> Settings:
        return Settings(url=",".join(server.url for server in self.servers.values()), timeout=4)

    async def leader(self, stream: str) -> str:
        """The name of the server that leads the stream; "" while none does."""
        with contextlib.suppress(DurableError):
            async with open_store(self.settings) as store:
                info = await store.requests.call(f"$JS.API.STREAM.INFO.{stream}")
                return str(info.get("cluster", {}).get("leader", ""))
        return ""

    async def current(self, stream: str) -> bool:
        """Whether all three hold the stream, and lag behind in nothing."""
        with contextlib.suppress(DurableError):
            async with open_store(self.settings) as store:
                info = await store.requests.call(f"$JS.API.STREAM.INFO.{stream}")
                replicas = info.get("cluster", {}).get("replicas", [])
                return len(replicas) == SIZE - 1 and all(each["current"] for each in replicas)
        return False


@contextlib.asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    """Started and with a meta leader; stopped at the end."""
    made = Cluster(directory)
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in made.servers.values()))
        await until(lambda: _has_jetstream(made), 30)
        yield made
    finally:
        for server in made.servers.values():
            server.kill()


async def _has_jetstream(made: Cluster) -> bool:
    with contextlib.suppress(DurableError):
        async with open_store(made.settings) as store:
            await store.requests.call("$JS.API.INFO")
            return True
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
