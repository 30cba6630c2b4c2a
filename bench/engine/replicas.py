"""Three-step workflows a second with three replicas beside one replica, in turns on one cluster of three servers.

All three servers, the processor and the client share this machine.

Run: ``python -m bench.engine.replicas [--count 2000]``.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import store
from bench.engine.throughput import engine
from durablectl.embedded import EmbeddedServer
from durablectl.errors import DurableError
from durablectl.storage.streams.provision import provision
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 3
_FORMING_SECONDS = 30


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """The URLs of the servers, with commas between them."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = _free_ports()
        routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
        servers = [
            EmbeddedServer(
                directory / f"n{port}",
                config=f'server_name: n{port}\ncluster {{name: bench, listen: "127.0.0.1:{port}", routes: [{routes}]}}',
            )
            for port in ports
        ]
        for server in servers:
            stack.callback(server.kill)
        with ThreadPoolExecutor() as threads:
            list(threads.map(EmbeddedServer.start, servers))
        yield ",".join(server.url for server in servers)


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(SIZE)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


async def prepare(url: str, namespace: str, replicas: int) -> None:
    """Create the streams with so many replicas, once the new cluster has elected its leader."""
    errors: list[DurableError] = []

    async def is_provisioned() -> bool:
        try:
            async with store(url, namespace) as opened:
                await provision(opened, replicas=replicas)
        except DurableError as error:
            errors.append(error)
            return False
        return True

    await wait_until(is_provisioned, _FORMING_SECONDS, 0.2, lambda: errors[-1])


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    rates: dict[int, list[float]] = {1: [], SIZE: []}
    with cluster() as url:
        for number in range(2 * options.rounds):
            replicas = SIZE if number % 2 else 1
            uvloop.run(prepare(url, f"engine{number}", replicas))
            rates[replicas].append(uvloop.run(engine(url, options.count, number)))
            table.say(f"replicas, round {number // 2}: {rates[replicas][-1]:.0f} a second with {replicas}")
    replicated, single = (statistics.median(rates[replicas]) for replicas in (SIZE, 1))
    yield table.compared("three-step workflows, three replicas", replicated, "/s", "one replica", single)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="workflows a round")
    parser.add_argument("--rounds", type=int, default=3)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
