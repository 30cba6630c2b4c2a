"""Requests a second and their times, of fifty clients of the HTTP API, beside /health of the same server.

The store holds a hundred thousand workflows, filled as by queries/read_commands.py. Server and clients are processes of
their own, and share this machine with nats-server.

Run: ``python -m bench.http.request_rate [--count 100000] [--seconds 10]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench._harness import table
from bench.http.load_clients import Answers, hammering
from bench.queries.read_commands import Known, fill
from durablectl.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMESPACE = "http"
_SPREAD_SECONDS = 60 * 86_400


def paths(known: Known) -> list[tuple[str, str]]:
    return [
        ("health", "/health"),
        ("get", f"/api/workflows/{known.invocation_id}"),
        ("list, 50 newest", "/api/workflows"),
        ("list, failed", "/api/workflows?status=failed"),
        ("stats", "/api/workflows/stats"),
    ]


async def ask(url: str, path: str, clients: int, seconds: float) -> Answers:
    async with hammering(url, [path], clients) as found:
        await asyncio.sleep(seconds)
    return found.answers[path]


def serve(url: str) -> tuple[subprocess.Popen[str], str]:
    """`serve-api` on a free port, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "durablectl", "serve-api", "--http-port", "0", "--log-format", "json"],
        env={**os.environ, "NATS_URL": url, "DURABLECTL_NAMESPACE": _NAMESPACE},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = json.loads(process.stderr.readline())["message"]
    return process, said.removeprefix("The HTTP API listens on ").rstrip(".")


def filled(url: str, directory: str, count: int) -> Known:
    """In a process of its own, which takes its memory with it."""
    path = Path(directory, "known")
    filling = multiprocessing.get_context("spawn").Process(
        target=fill, args=(url, _NAMESPACE, count, _SPREAD_SECONDS, path)
    )
    filling.start()
    filling.join()
    return Known(*json.loads(path.read_text()))


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(Path(directory, "nats")) as server:
        known = filled(server.url, directory, options.count)
        process, url = serve(server.url)
        draining = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # its log
        try:
            base: Answers | None = None
            for name, path in paths(known):
                found = asyncio.run(ask(url, path, options.clients, options.seconds))
                base = base or found
                title, against = f"HTTP {name}, {options.clients} clients, {options.count:,} workflows", "/health"
                yield table.compared(title, found.rate, "/s", against, base.rate)
                for quantile, now, then in (
                    ("p50", found.median, base.median),
                    ("p99", found.slowest_hundredth, base.slowest_hundredth),
                ):
                    yield table.compared(f"{title}, {quantile}", now, "ms", against, then)
        finally:
            process.terminate()
            process.wait()
            draining.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="workflows in the store")
    parser.add_argument("--seconds", type=float, default=10, help="for each path")
    parser.add_argument("--clients", type=int, default=50)
    table.run(parser, rows)


if __name__ == "__main__":
    main()
