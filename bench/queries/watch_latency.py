"""From a state write to the reader: milliseconds until `wf watch` has printed the line, or drawn it on a terminal.

The clock starts before the write is sent.

Run: ``python -m bench.queries.watch_latency [--changes 200]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pty
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench._harness import table
from bench._harness.support import server, store
from durablectl import control
from durablectl.storage.streams.provision import provision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from durablectl.storage.connection.store import Store

_BAR = "figure <= 50"
_WATCHED = "watched"
_FORMS = {"one": ("wf", "watch", _WATCHED), "many": ("wf", "watch")}


class Reader:
    """What a process has written so far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = b""

    async def read_until(self, words: bytes) -> None:
        """Beyond what was read before."""
        while words not in self._text:
            self._text += await asyncio.to_thread(os.read, self._descriptor, 65536)
        self._text = self._text.rpartition(words)[2]


@contextlib.contextmanager
def watching(args: Sequence[str], url: str, *, on_terminal: bool) -> Iterator[Reader]:
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    env = {**os.environ, "NATS_URL": url, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "durablectl", *args], env=env, stdin=subprocess.DEVNULL, stdout=theirs
    )
    os.close(theirs)
    try:
        yield Reader(ours)
    finally:
        process.terminate()
        process.wait()
        os.close(ours)


async def latencies(opened: Store, reader: Reader, changes: int) -> list[float]:
    """Milliseconds of each change, with a pause between them; each has a word of its own."""
    await reader.read_until(_WATCHED.encode())
    await asyncio.sleep(1)
    found = []
    for number in range(changes):
        word = f"reason-{time.time_ns()}-{number}"
        began = time.perf_counter()
        await asyncio.gather(control.pause(opened, _WATCHED, word), reader.read_until(word.encode()))
        found.append(1000 * (time.perf_counter() - began))
        await control.resume(opened, _WATCHED)
        await asyncio.sleep(0.05)
    return found


async def publishes(opened: Store, count: int) -> float:
    """Milliseconds of an acknowledged one, in the middle."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        await opened.requests.publish(opened.subjects.journal("bare", number), b"bare")
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


async def measure(changes: int) -> AsyncIterator[table.Row]:
    with server() as running:
        async with store(running.url, "") as opened:
            await provision(opened)
            await control.start(opened, control.StartRequest("nobodys", None, _WATCHED))
            for name, args in _FORMS.items():
                for on_terminal in (False, True):
                    base = await publishes(opened, changes)
                    with watching(args, running.url, on_terminal=on_terminal) as reader:
                        found = sorted(await latencies(opened, reader, changes))
                    where = "terminal" if on_terminal else "pipe"
                    title, against = f"wf watch of {name}, {where}: a change is seen", "an acknowledged publish"
                    median, late = statistics.median(found), found[int(0.95 * len(found))]
                    yield table.compared(f"{title}, p50", median, "ms", against, base, _BAR)
                    yield table.Row(f"{title}, p95", late, "ms")
                    table.say(f"{title}: {median:.1f} ms, p95 {late:.1f}, most {found[-1]:.1f}")


async def collected(changes: int) -> list[table.Row]:
    return [row async for row in measure(changes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    table.run(parser, lambda options: asyncio.run(collected(options.changes)))


if __name__ == "__main__":
    main()
