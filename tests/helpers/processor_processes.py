"""What the tests of waiting, steering, chaos and failover share: processor processes, and a look at many workflows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from chaos_app import EFFECTS
from durablectl import control, query
from durablectl.errors import AlreadyExistsError, ConnectionFailedError, NotFoundError
from durablectl.storage.records import leases
from durablectl.storage.streams.feed import NEW, follow
from helpers.index_listing import list_index_entries
from helpers.paths import APPS
from helpers.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from durablectl.query import WorkflowView
    from durablectl.storage.connection.store import Store
    from helpers.chaos_judge import Effect
    from helpers.spawned import Spawned, Spawner

CHAOS_APP = str(APPS / "chaos_app.py")


class Fleet:
    """Processors as processes of their own, whose workflows leave their effects in one file."""

    def __init__(self, spawn: Spawner, directory: Path, app: str = CHAOS_APP, url: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._env = {"NATS_URL": url} if url else {}
        self.effects = directory / "effects.jsonl"
        self.healed = directory / "all-healed"
        self._spawn = spawn
        self._app = app

    def start(self, *options: str) -> Spawned:
        command = ["run", "processor", self._app, "--grace", "1", *options]
        return self._spawn(*command, env={EFFECTS: str(self.effects), **self._env})


def kill(process: Spawned) -> None:
    """With -9, and until it is gone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def alive(store: Store, process: Spawned, timeout: float = PATIENCE) -> str:
    """Until the processor of this process holds a lease; its id."""

    async def lease() -> str:
        assert process.poll() is None, process.err()
        live = await leases.live_processors(store)
        return next((lease.processor_id for lease in live if lease.process_id == process.pid), "")

    return await wait_until(lease, timeout)


async def start_many(store: Store, handler: str, plan: Any, count: int, stem: str, every: float = 0.0) -> list[str]:
    """One after the other, ``every`` so many seconds; an outage in between is waited for. Their ids, <stem><n>."""
    ids = [f"{stem}{number}" for number in range(count)]
    for invocation_id in ids:
        request = control.StartRequest(handler, plan, invocation_id)
        while True:
            try:
                await control.start(store, request)
            except AlreadyExistsError:
                break
            except ConnectionFailedError:
                await asyncio.sleep(0.1)
            else:
                break
        await asyncio.sleep(every)
    return ids


def failover_gaps(effects: Iterable[Effect], dead: int) -> list[float]:
    """Seconds from the last effect of a dead process to the first of another, for each workflow that it had."""
    last: dict[str, int] = {}
    gaps: dict[str, float] = {}
    for effect in sorted(effects, key=lambda effect: effect.at):
        if effect.pid == dead:
            last[effect.invocation_id] = effect.at
        elif effect.invocation_id in last and effect.invocation_id not in gaps:
            gaps[effect.invocation_id] = (effect.at - last[effect.invocation_id]) / 1e6
    return list(gaps.values())


async def every_workflow(store: Store) -> dict[str, WorkflowView]:
    """All of them, children too, with their journals. A start writes the index entry before the state."""
    found = {}
    for invocation_id in dict.fromkeys(entry.invocation_id for entry in await list_index_entries(store)):
        with contextlib.suppress(NotFoundError):
            found[invocation_id] = await query.get_workflow(store, invocation_id)
    return found


@contextlib.asynccontextmanager
async def journal_watch(store: Store) -> AsyncIterator[dict[str, list[bytes]]]:
    """Every message that the journal stream takes from now on, by invocation."""
    seen: dict[str, list[bytes]] = {}
    subjects = store.subjects

    async def watch(feed: Any) -> None:
        async for change in feed:
            seen.setdefault(change.subject.split(".")[-2], []).append(change.data)

    async with follow(store, subjects.state_stream, [subjects.journal("*", "*")], NEW) as feed:
        task = asyncio.create_task(watch(feed))
        try:
            yield seen
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def start_at(store: Store, handler: Any, seconds: float, input: Any = None) -> str:
    """A start that is delayed by so many seconds."""
    moment = int((time.time() + seconds) * 1_000_000)
    return await control.start(store, control.StartRequest(handler.name, input, start_at=moment))


_crossed: Counter[tuple[str, str]] = Counter()


def cross(invocation_id: str, place: str) -> int:
    """How often a workflow of this process has come by here, this time included."""
    _crossed[invocation_id, place] += 1
    return _crossed[invocation_id, place]
