"""Three real nats-servers that form a JetStream cluster on loopback, with links between them that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.streams.provision import provision
from helpers.link_proxy import Link
from helpers.ports import reserved_ports
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SIZE = 3
_NOBODY = "127.0.0.1:9"
"""Advertised instead of the servers' own addresses: no server finds a way around a link."""


class Cluster:
    """``servers`` by name, n0 to n2; ``links`` by who dials and who is dialled."""

    def __init__(self, directory: Path, namespace: str, ports: list[int]) -> None:
        self.namespace = namespace
        names = [f"n{number}" for number in range(SIZE)]
        routes = dict(zip(names, ports[:SIZE], strict=True))
        pairs = [(one, other) for one in names for other in names if one != other]
        dialled = dict(zip(pairs, ports[SIZE:], strict=True))
        self.links = {pair: Link(dialled[pair], routes[pair[1]]) for pair in pairs}
        self.servers: dict[str, EmbeddedServer] = {}
        for name in names:
            urls = ", ".join(f"nats-route://127.0.0.1:{port}" for (one, _), port in dialled.items() if one == name)
            config = (
                f'server_name: {name}\nhttp: "127.0.0.1:-1"\n'
                f'cluster {{name: tested, listen: "127.0.0.1:{routes[name]}", advertise: "{_NOBODY}", '
                f"no_advertise: true, routes: [{urls}]}}\n"
            )
            self.servers[name] = EmbeddedServer(directory / name, config=config)

    @property
    def settings(self) -> Settings:
        """For clients of whichever server is there."""
        url = ",".join(server.url for server in self.servers.values())
        return Settings(url=url, namespace=self.namespace, timeout=10)

    def settings_of(self, name: str) -> Settings:
        """For clients that know one server only."""
        return replace(self.settings, url=self.servers[name].url)

    def cut_off(self, name: str) -> None:
        """From the two others, in both directions; its clients stay connected to it."""
        for pair, link in self.links.items():
            if name in pair:
                link.cut()

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()

    async def leader(self, stream: str) -> str:
        """The name of the server that leads the stream; "" while none does."""
        info = await self._ask(f"STREAM.INFO.{stream}")
        return str(info.get("cluster", {}).get("leader", ""))

    async def lead(self, name: str) -> None:
        """Until this server leads every stream."""
        for stream in (await self._ask("STREAM.NAMES"))["streams"]:

            async def leads(stream: str = stream) -> bool:
                if await self.leader(stream) == name:
                    return True
                await self._ask(f"STREAM.LEADER.STEPDOWN.{stream}", {"placement": {"preferred": name}})
                return False

            await wait_until(leads, 60, 0.5)

    async def healthy(self) -> bool:
        """Whether all three say that they are, and current in every stream and consumer."""
        return all(await asyncio.gather(*(asyncio.to_thread(_is_healthy, s) for s in self.servers.values())))

    async def _ask(self, request: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Nothing while nobody answers."""
        with contextlib.suppress(DurableError):
            async with open_store(self.settings) as store:
                return await store.requests.call(f"$JS.API.{request}", body)
        return {}


@contextlib.asynccontextmanager
async def cluster(directory: Path, namespace: str = "", *, replicas: int = 3) -> AsyncIterator[Cluster]:
    """Started, with the streams of the namespace; stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:
        made = Cluster(directory, namespace, stack.enter_context(reserved_ports(SIZE * SIZE)))
        for link in made.links.values():
            await stack.enter_async_context(link)
        for server in made.servers.values():
            stack.callback(server.kill)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in made.servers.values()))
        await wait_until(lambda: made._ask("INFO"))
        async with open_store(made.settings) as store:
            await provision(store, replicas=replicas)
        await wait_until(made.healthy)
        yield made


def _is_healthy(server: EmbeddedServer) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError):
        # S310 is about schemes: the server's own monitoring address is http.
        return bool(urllib.request.urlopen(f"{server.monitor_url}/healthz", timeout=2).status == 200)  # noqa: S310
    return False
