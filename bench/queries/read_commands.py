"""Seconds and memory of the reading commands, each as a whole process, on a thousand workflows up to a million.

The stores lie in namespaces of one server, written as processors leave them, with as many of each status as
``_STATUSES`` says and a quarter of a kilobyte of journal each. With ``--shape spread`` they changed last over 60 days,
with ``burst`` within the last ten minutes.

Run: ``python -m bench.queries.read_commands [--counts 1000 100000] [--shape burst]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench._harness import table
from durablectl.embedded import EmbeddedServer
from durablectl.storage.index import index_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

# This process stays small: what the kernel reports as the peak memory of a child begins with that of its parent.

_COUNTS = (1000, 100_000, 1_000_000)
_SPANS = {"spread": 60 * 86_400, "burst": 600}
_STATUSES = {
    "completed": 900,
    "failed": 50,
    "cancelled": 20,
    "suspended": 10,
    "paused": 5,
    "running": 3,
    "pending": 2,
}
_HANDLERS = {"async_workflow": 60, "checkout": 20, "onboarding": 12, "refund": 6, "report": 2}
_PARTITIONS = 200
_IN_FLIGHT = 4000
_PAGE = 50


class Known(NamedTuple):
    """What a query may ask a store for: an id, and the cursors of the tenth page and of one in the middle."""

    invocation_id: str
    tenth: str
    middle: str


def fill(url: str, namespace: str, count: int, seconds: int, known: Path) -> None:
    """Publish ``count`` states and index entries with times over the last ``seconds``; leave a Known as JSON."""
    known.write_text(json.dumps(asyncio.run(_fill(url, namespace, count, seconds))))


async def _fill(url: str, namespace: str, count: int, seconds: int) -> Known:
    from bench._harness.support import store
    from durablectl import query
    from durablectl.model.codec import encode_execution
    from durablectl.storage.streams.provision import provision

    async with store(url, namespace) as opened:
        await provision(opened)
        await index_entries.add_handlers(opened, _HANDLERS)
        chance = random.Random(5)
        now = time.time_ns() // 1000
        for number in range(count):
            execution = _execution(chance, number, now - (count - number) * seconds * 1_000_000 // count)
            await opened.nats.publish(opened.subjects.state(execution.invocation_id), encode_execution(execution))
            await opened.nats.publish(index_entries.index_subject(opened.subjects, execution), b"")
            if number % _IN_FLIGHT == 0:
                await _wait_until_stored(opened, number)
        await _wait_until_stored(opened, count)
        older_half = query.Filters.parse(until=now - seconds * 1_000_000 // 2)
        middle = await query.list_workflows(opened, older_half, 1)
        tenth = await query.list_workflows(opened, limit=9 * _PAGE)
        return Known(middle.workflows[0].invocation_id, tenth.next_cursor, middle.next_cursor)


async def _wait_until_stored(opened: Store, number: int) -> None:
    from bench._harness.support import HUNG_SECONDS
    from helpers.waiting import wait_until

    async def is_stored() -> bool:
        streams = (opened.subjects.state_stream, opened.subjects.index_stream)
        infos = [await opened.requests.call(f"{opened.api}.STREAM.INFO.{stream}") for stream in streams]
        return all(info["state"]["messages"] >= number for info in infos)

    await wait_until(is_stored, HUNG_SECONDS)


def _execution(chance: random.Random, number: int, moment: int) -> Execution:
    from durablectl.model.records import Execution, JournalEntry, Payload

    (status,) = chance.choices([*_STATUSES], [*_STATUSES.values()])
    (handler,) = chance.choices([*_HANDLERS], [*_HANDLERS.values()])
    ended = status in {"completed", "failed", "cancelled"}
    greeting = Payload(b'"Hello, User:user-001!"')
    steps = [
        JournalEntry(
            step, "HelloService.SayHello", "call", Payload(b'"user-001"'), greeting, "", "", moment, moment, attempts=1
        )
        for step in range(3)
    ]
    return Execution(
        f"{chance.randrange(16**12):012x}",
        handler,
        status,
        journal=steps if ended else [],
        input=Payload(b'{"user": "user-%d"}' % number),
        output=greeting if status == "completed" else Payload(),
        error=f"Step 2 'charge' failed: card {number % 7} declined" if status == "failed" else "",
        partition_key=f"p{chance.randrange(_PARTITIONS)}" if number % 3 == 0 else "",
        attempt=1,
        total_steps=3,
        created_at=moment - 5_000_000,
        started_at=moment - 4_000_000,
        updated_at=moment,
        finished_at=moment if ended else 0,
        indexed_at=moment,
    )


class Query(NamedTuple):
    """The arguments of a command, what it may cost (times its own on a thousand, seconds), and how it is called."""

    args: tuple[str, ...]
    ratio: float = 1.3
    seconds: float = 0.5
    name: str = ""
    codes: tuple[int, ...] = (0,)


def queries(known: Known) -> list[Query]:
    return [
        Query(("wf", "list")),
        Query(("wf", "list", "--status", "failed")),
        Query(("wf", "list", "--status", "completed"), 1.6),
        Query(("wf", "list", "--handler", "checkout")),
        Query(("wf", "list", "--status", "failed", "--handler", "checkout")),
        Query(("wf", "list", "--since", "1h")),
        Query(("wf", "list", "--since", "5m")),
        Query(("wf", "list", "--partition-key", "p7")),
        Query(("wf", "list", "--cursor", known.tenth), name="wf list, the tenth page"),
        Query(("wf", "list", "--cursor", known.middle), name="wf list, in the middle"),
        Query(("wf", "get", known.invocation_id), name="wf get"),
        Query(("wf", "stats"), math.inf, 0.8),
        Query(("status",), math.inf, 1.0, codes=(0, 1)),
    ]


class Cost(NamedTuple):
    """Of one process: wall time, and peak memory in megabytes."""

    seconds: float
    megabytes: float


def cost(url: str, namespace: str, query: Query) -> Cost:
    environment = {**os.environ, "NATS_URL": url, "DURABLECTL_NAMESPACE": namespace}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "durablectl", *query.args],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    _ = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in query.codes:
        raise SystemExit(f"durablectl {' '.join(query.args)} ended with {process.returncode}")
    return Cost(seconds, usage.ru_maxrss / 1024)


def measure(url: str, namespaces: list[str], known: dict[str, Known], rounds: int) -> list[tuple[Query, list[Cost]]]:
    """For each query the median cost in each namespace, taken in turns."""
    asked = {namespace: queries(known[namespace]) for namespace in namespaces}
    costs: dict[tuple[int, str], list[Cost]] = {}
    for _ in range(rounds):
        for number in range(len(asked[namespaces[0]])):
            for namespace in namespaces:
                spent = cost(url, namespace, asked[namespace][number])
                costs.setdefault((number, namespace), []).append(spent)
    return [
        (query, [_median(costs[number, namespace]) for namespace in namespaces])
        for number, query in enumerate(asked[namespaces[0]])
    ]


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def compare(query: Query, counts: list[int], costs: list[Cost]) -> Iterator[table.Row]:
    """The seconds at each count as a ratio to those at the lowest; at the highest that is held against the bars."""
    name = query.name or " ".join(query.args)
    bars = [f"figure <= {query.seconds:g}"]
    bars += [f"ratio <= {query.ratio:g}"] if math.isfinite(query.ratio) else []
    few = costs[0].seconds
    for count, cost in zip(counts, costs, strict=True):
        title = f"durablectl {name}, {count:,}"
        if count == counts[0]:
            yield table.Row(title, few, "s")
        else:
            held = bars if count == counts[-1] else []
            yield table.compared(title, cost.seconds, "s", f"{counts[0]:,}", few, *held)


def most_memory(counts: list[int], measured: list[tuple[Query, list[Cost]]]) -> table.Row:
    """Of the command whose memory grows most."""
    query, costs = max(measured, key=lambda each: each[1][-1].megabytes / each[1][0].megabytes)
    title = f"memory of durablectl {query.name or ' '.join(query.args)}, which grows most, {counts[-1]:,}"
    return table.compared(title, costs[-1].megabytes, "MB", f"{counts[0]:,}", costs[0].megabytes, "ratio <= 1.2")


def rows(options: argparse.Namespace) -> Iterator[table.Row]:
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(Path(directory, "nats")) as server:
        known = {}
        for count in options.counts:
            namespace = f"n{count}"
            path = Path(directory, namespace)
            arguments = (server.url, namespace, count, _SPANS[options.shape], path)
            filling = multiprocessing.get_context("spawn").Process(target=fill, args=arguments)
            filling.start()
            filling.join()
            known[namespace] = Known(*json.loads(path.read_text()))
            table.say(f"query: {count:,} workflows are there")
        measured = measure(server.url, [*known], known, options.rounds)
    for query, costs in measured:
        yield from compare(query, options.counts, costs)
    yield most_memory(options.counts, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=_COUNTS, help="workflows in each store, ascending")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", choices=[*_SPANS], default="spread", help="how their times lie")
    table.run(parser, rows)


if __name__ == "__main__":
    main()
