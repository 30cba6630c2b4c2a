"""Workflows a second while fifty clients ask a processor's HTTP API, as a ratio to those without clients.

The load is that of engine/throughput.py. The clients ask for ``/api/workflows`` and ``/api/workflows/stats`` as fast as
they get answers. All of it shares this machine: nats-server, the processor, the process of the API, and the one of the
clients.

Run: ``python -m bench.http.client_cost``.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import time
from typing import TYPE_CHECKING

import uvloop

from bench._harness import table
from bench._harness.support import processor, server, start_many, store
from bench.engine.floor import CONCURRENCY
from bench.engine.throughput import HANDLER, three_steps, wait_until_drained
from bench.http.load_clients import Answers, hammering
from durablectl.cli.http_api import sidecar_api
from durablectl.http.server_options import HttpOptions
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATHS = ["/api/workflows", "/api/workflows/stats"]
_LOGS = ("text", "warning")


async def rate(url: str, namespace: str, count: int, clients: int) -> tuple[float, dict[str, Answers]]:
    """Workflows a second, and what the clients got."""
    async with store(url, namespace) as opened:
        await provision(opened)
        await start_many(opened, HANDLER, count, "user-001")
        async with sidecar_api(HttpOptions(port=_free_port()), opened.settings, _LOGS, bytes) as address:
            hammered = hammering(address, _PATHS, clients) if clients else contextlib.nullcontext()
            async with hammered as found:
                began = time.perf_counter()
                async with processor(opened, [three_steps], CONCURRENCY):
                    await wait_until_drained(opened, count)
                    seconds = time.perf_counter() - began
            return count / seconds, found.answers if found else {}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    quiet, hammered = [], []
    with server() as running:
        for number in range(options.rounds):
            quiet.append(uvloop.run(rate(running.url, f"quiet{number}", options.count, 0))[0])
            workflows, answers = uvloop.run(rate(running.url, f"hammered{number}", options.count, options.clients))
            hammered.append(workflows)
            words = ", ".join(
                f"{path} {each.rate:.0f} a second ({each.median:.0f} / {each.slowest_hundredth:.0f} ms)"
                for path, each in answers.items()
            )
            table.say(f"http_beside, round {number}: {quiet[-1]:.0f}, then {workflows:.0f}; {words}")
    # Of the rounds' own ratios, as the machine may be slower in one than in another.
    ratio = statistics.median(b / a for a, b in zip(quiet, hammered, strict=True))
    against = f"without them: {table.shown(statistics.median(quiet), '/s')}"
    title = f"three-step workflows beside {options.clients} clients of the HTTP API"
    yield table.Row(title, statistics.median(hammered), "/s", against, ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8000, help="workflows a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
