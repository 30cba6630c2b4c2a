"""A load on a cluster that something happens to: who tried what when, and what must be true of all of it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from durablectl import control, query
from durablectl.errors import AlreadyExistsError, ConnectionFailedError, DurableError
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import states
from helpers import chaos_judge as judging
from helpers.cluster import cluster
from helpers.processor_processes import Fleet, alive, every_workflow
from helpers.waiting import wait_until
from helpers.workflow_runs import wait_for_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from helpers.cluster import Cluster
    from helpers.spawned import Spawner

STEPS, NAP_SECONDS = 4, 1.5
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Try:
    """One request of a client, from when to when (seconds), and the sentence with which it failed; "" if it did not."""

    began: float
    ended: float
    error: str = ""


async def tried(tries: list[Try], work: Awaitable[object]) -> bool:
    """Do it and note how that went. The only error that may be is that nobody answers."""
    began = time.time()
    try:
        await work
    except AlreadyExistsError:  # an earlier try has started it
        pass
    except ConnectionFailedError as error:
        tries.append(Try(began, time.time(), error.message))
        return False
    tries.append(Try(began, time.time()))
    return True


def longest_gap(moments: Iterable[float], since: float, until: float) -> float:
    """Seconds without any of the moments, between these two."""
    inside = sorted(moment for moment in moments if since < moment < until)
    return max(later - earlier for earlier, later in itertools.pairwise([since, *inside, until]))


@dataclass
class Side:
    """Clients of one server, or of any: one starts workflows, one pauses and resumes a workflow that sleeps."""

    store: Store
    stem: str
    starts: list[Try] = field(default_factory=list)
    steerings: list[Try] = field(default_factory=list)

    @property
    def parked(self) -> str:
        return f"{self.stem}-parked"

    async def start_many(self, least: int, every: float, enough: asyncio.Event) -> list[str]:
        """Each is tried again until it is there; their ids."""
        ids: list[str] = []
        while len(ids) < least or not enough.is_set():
            ids.append(f"{self.stem}{len(ids)}")
            request = control.StartRequest("nap_chain", [STEPS, NAP_SECONDS], ids[-1])
            while not await tried(self.starts, control.start(self.store, request)):
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(every)
        return ids

    @contextlib.asynccontextmanager
    async def steering(self) -> AsyncIterator[None]:
        """Pause and resume, again and again."""
        await control.start(self.store, control.StartRequest("nap_chain", [0, 3600], self.parked))
        await wait_for_status(self.store, self.parked, "suspended")
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._steer(stopping))
            yield
            stopping.set()

    async def _steer(self, stopping: asyncio.Event) -> None:
        for operation in itertools.cycle((control.pause, control.resume)):
            while not await tried(self.steerings, operation(self.store, self.parked)):
                await asyncio.sleep(_PAUSE_SECONDS)
            if stopping.is_set():
                return
            await asyncio.sleep(_PAUSE_SECONDS)


class Load:
    """Two processors, and clients on the sides ``near`` and ``far``."""

    def __init__(self, made: Cluster, fleet: Fleet, near: Side, far: Side) -> None:
        self.cluster = made
        self.fleet = fleet
        self.near = near
        self.far = far

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.near, self.far

    @property
    def effects(self) -> list[judging.Effect]:
        return judging.read_effects(self.fleet.effects)

    async def run(self, count: int, trouble: Callable[[], Awaitable[None]], every: float = 0.0) -> None:
        """At least ``count`` workflows, half of them from each side, while ``trouble`` is made; audited at the end."""
        over = asyncio.Event()
        async with self.near.steering(), self.far.steering():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(side.start_many(count // 2, every, over)) for side in self.sides]
                await trouble()
                over.set()
            ids = [invocation_id for task in tasks for invocation_id in task.result()]
            await self._end(ids)
        await self._audit(ids)

    async def completed(self, least: int) -> None:
        """Until so many are, as far as the far side can see."""
        await wait_until(lambda: patiently(self._is_completed(least)), 180, 0.1)

    async def _is_completed(self, least: int) -> bool:
        return (await query.get_stats(self.far.store)).by_status.get("completed", 0) >= least

    async def _end(self, ids: list[str]) -> None:
        async def all_completed() -> bool:
            return all(each.status == "completed" for each in await self._executions(ids))

        await wait_until(all_completed, 120, 0.5)
        assert len(await self._executions(ids)) == len(ids)

    async def _executions(self, ids: list[str]) -> list[Execution]:
        return [stored.execution for stored in (await states.load_many(self.far.store, ids)).values()]

    async def _audit(self, ids: list[str]) -> None:
        """Nothing is lost, nothing is there twice, no recorded step ran again: every journal, output and effect.

        An index entry too many may be left, which a repair takes away.
        """
        for side in self.sides:
            await control.cancel(side.store, side.parked)
            await wait_for_status(self.far.store, side.parked, "cancelled")
        views = await every_workflow(self.far.store)
        repeated = list(judging.repeated(views.values(), self.effects))
        assert not repeated, repeated
        await control.repair(self.far.store)
        disagreements = list(await judging.disagreements(self.far.store, views))
        assert not disagreements, disagreements
        assert set(views) == {*ids, *(side.parked for side in self.sides)}
        for invocation_id in ids:
            view = views[invocation_id]
            assert view.status == "completed"
            assert view.journal is not None
            assert [s.step_type for s in view.journal] == [*(f"s{n}" for n in range(STEPS)), "sleep", "end"]
            assert view.output == [s.response for s in view.journal if s.kind == "step"]


@contextlib.asynccontextmanager
async def load(tmp_path: Path, spawn: Spawner, namespace: str, *, near: str = "", far: str = "") -> AsyncIterator[Load]:
    """A cluster with a processor and clients on either side: the name of a server, or "" for whichever is there."""
    async with cluster(tmp_path / "cluster", namespace) as made, contextlib.AsyncExitStack() as stack:
        settings = [made.settings_of(name) if name else made.settings for name in (near, far)]
        stores = [await stack.enter_async_context(open_store(each)) for each in settings]
        fleets = [Fleet(spawn, tmp_path / "fleet", url=each.url) for each in settings]
        processors = [fleet.start() for fleet in fleets]
        await asyncio.gather(*(alive(stores[1], processor) for processor in processors))
        await wait_until(lambda: all("takes commands" in processor.err() for processor in processors))
        yield Load(made, fleets[0], Side(stores[0], "near"), Side(stores[1], "far"))


async def patiently(question: Awaitable[bool]) -> bool:
    """False while nobody answers."""
    try:
        return await question
    except DurableError:
        return False
