"""What the server offers for completion: within a moment, and nothing at all where it does not answer in time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping

import typer

from durablectl.cli.connection_flags import connection_settings
from durablectl.model.names import JOB_HANDLER
from durablectl.model.status import ACTIVE, TERMINAL, Status
from durablectl.storage.connection.store import Store, open_store
from durablectl.storage.index import index_entries
from durablectl.storage.index.time_buckets import Scope
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import leases, states
from durablectl.storage.streams.direct_get import subjects_matching
from durablectl.storage.subjects import Subjects

MOST = 50
"""Candidates that are offered."""
_SECONDS = 0.24
"""From the start of the process until it no longer waits for the server."""
_LEAST_SECONDS = 0.05

_CHANGEABLE: Mapping[str, frozenset[Status]] = {
    "pause": ACTIVE - {Status.PAUSED},
    "resume": frozenset({Status.PAUSED}),
    "cancel": ACTIVE,
    "retry": frozenset({Status.FAILED, Status.CANCELLED}),
    "retry-now": frozenset({Status.RUNNING, Status.SUSPENDED}),
    "restart-step": frozenset({Status.RUNNING}),
    "delete": TERMINAL,
    "signal": ACTIVE,
}
"""Command -> the statuses of the workflows that it can do something with; other commands take any."""

Candidate = tuple[str, str]
"""A word, and what it stands for."""
Source = Callable[[Store, typer.Context, str], AsyncIterator[Candidate]]


def ask(context: typer.Context, incomplete: str, source: Source) -> list[Candidate]:
    """What ``source`` has found when the time is up, in its order, each word once. An error ends it silently."""
    found: dict[str, str] = {}
    done = threading.Event()

    async def collect() -> None:
        async with open_store(connection_settings({**context.params, "timeout": None})) as store:
            async for word, meaning in source(store, context, incomplete):
                if word.startswith(incomplete):
                    found.setdefault(word, meaning)
                if len(found) == MOST:
                    break
            done.set()

    def run() -> None:
        with contextlib.suppress(Exception):
            asyncio.run(collect())
        done.set()

    # In a thread that nobody waits for: looking a host up, or closing a connection, can take long.
    threading.Thread(target=run, daemon=True).start()
    # What the processor has worked since the start is about the time that has passed since then.
    done.wait(max(_SECONDS - time.process_time(), _LEAST_SECONDS))
    return [*found.copy().items()]


async def ids(store: Store, context: typer.Context, incomplete: str) -> AsyncIterator[Candidate]:
    """Of workflows that the command can do something with, those first that changed last."""
    groups = _CHANGEABLE.get(context.info_name or "", frozenset())
    given = context.params.get("ids") or ()
    if incomplete and (stored := await states.load(store, incomplete)):
        status, handler = stored.execution.status, stored.execution.handler
        if not groups or status in groups:
            yield incomplete, f"{status} {handler}"
    async for entry in Traversal(store, Scope(sorted(groups))).entries():
        if entry.invocation_id not in given:
            yield entry.invocation_id, f"{entry.group} {entry.handler}"


async def handlers(store: Store, _: typer.Context, __: str) -> AsyncIterator[Candidate]:
    """Those of stored workflows, and those of live processors."""
    for name in await index_entries.list_handlers(store):
        yield name, ""
    for name in sorted({name for lease in await leases.live_processors(store) for name in lease.handlers}):
        yield name, ""


async def processors(store: Store, _: typer.Context, __: str) -> AsyncIterator[Candidate]:
    """Those that live."""
    for lease in await leases.live_processors(store):
        yield lease.processor_id, f"on {lease.host}" if lease.host else ""


async def namespaces(store: Store, _: typer.Context, __: str) -> AsyncIterator[Candidate]:
    """By the names of the streams that hold the states."""
    prefix = Subjects().state_stream + "_"
    offset, total = 0, 1
    while offset < total:
        answer = await store.requests.call(f"{store.api}.STREAM.NAMES", {"offset": offset})
        names, total = answer.get("streams") or [], answer["total"]
        for name in names:
            if name.startswith(prefix):
                yield name.removeprefix(prefix), ""
        offset += len(names) or total


async def schedules(store: Store, _: typer.Context, __: str) -> AsyncIterator[Candidate]:
    subjects = store.subjects
    for subject in sorted(await subjects_matching(store, subjects.state_stream, [subjects.schedule("*")])):
        yield subject.rpartition(".")[2], ""


async def jobs(store: Store, _: typer.Context, __: str) -> AsyncIterator[Candidate]:
    """Those first whose status changed last."""
    async for entry in Traversal(store, Scope((), (JOB_HANDLER,))).entries():
        yield entry.invocation_id, entry.group
