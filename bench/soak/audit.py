"""The audit of the soak: every workflow is judged once it has ended, before its retention takes it away.

The last word is at the end: no effect may have come after the record of its result, nothing may be left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bench.soak.load import Item
from durablectl import control, query
from durablectl.errors import InvalidStateError, NotFoundError
from durablectl.model.status import TERMINAL
from durablectl.query import Filters
from durablectl.storage.records import states
from durablectl.storage.records.states import UNREACHABLE
from helpers import chaos_judge as judging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.soak.load import Load
    from durablectl.query import WorkflowView
    from durablectl.storage.connection.store import Store

RETENTION_SECONDS = 60
ACK_WAIT_SECONDS = 10
"""Within which a command that a dead processor held comes again; its workflow must not be gone by then."""
SCHEDULED = "tick"
_DELETED_OF = 10
_THAW_SECONDS = 4
_CHUNK = 300


class Auditor:
    def __init__(self, store: Store, load: Load, effects: Path) -> None:
        self._store = store
        self._load = load
        self._effects = effects
        self._read = 0
        self._fresh: dict[str, list[judging.Effect]] = defaultdict(list)
        self._recorded: dict[str, tuple[int, dict[str, int]]] = {}
        """When an invocation that was judged had ended, and when each step was recorded."""
        self._gone_at: dict[str, float] = {}
        self._ticks: set[str] = set()
        self._numbers = itertools.count()
        self.frozen: dict[int, list[tuple[float, float]]] = defaultdict(list)
        """When processes were frozen, from and to, in microseconds."""
        self.thawed_effects = 0
        self.effects = 0
        self.steps = 0
        self.ends: Counter[tuple[str, str]] = Counter()
        self.latencies: list[float] = []
        self.violations: list[str] = []
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        while not (self.stopping.is_set() and not self._load.open):
            with contextlib.suppress(*UNREACHABLE):
                await self._round()
            await asyncio.sleep(0.3)

    async def _round(self) -> None:
        await self._find_scheduled()
        ids = [item.id for item in self._load.open.values() if item.is_started]
        for at in range(0, len(ids), _CHUNK):
            chunk = ids[at : at + _CHUNK]
            found = await states.load_many(self._store, chunk)
            self._read_effects()
            ready = []
            for item in (self._load.open[each] for each in chunk):
                stored = found.get(item.id)
                if stored is None:
                    self._miss(item)
                    continue
                item.missing = 0
                if item.busy or time.monotonic() < item.free_at:
                    continue
                if stored.execution.status in TERMINAL:
                    ready.append(item)
                else:
                    await self._settle(item, stored.execution.status)
            await asyncio.gather(*(self._judge(item) for item in ready))

    async def _settle(self, item: Item, status: str) -> None:
        await self._load.settle(item, status)
        if item.handler == "voyage":
            with contextlib.suppress(NotFoundError, *UNREACHABLE):
                await self._family(item)

    def _miss(self, item: Item) -> None:
        item.missing += 1
        if item.missing >= 3:
            self.violations.append(f"{item.id}: it was started, and there is no record of it")
            self._load.open.pop(item.id)

    async def _find_scheduled(self) -> None:
        """What the schedule has started is not in the ledger."""
        page = await query.list_workflows(self._store, Filters(handlers=frozenset({"scheduled"})), 100)
        for view in page.workflows:
            if view.invocation_id not in self._ticks:
                self._ticks.add(view.invocation_id)
                self._load.open[view.invocation_id] = Item(view.invocation_id, "scheduled", 1, 0.0, is_started=True)

    async def _family(self, item: Item) -> list[WorkflowView] | None:
        """The workflow and its children, which are resumed if they are paused; None while one of them has not ended."""
        views = [await query.get_workflow(self._store, item.id)]
        invoked = [step.awaited_id for step, _ in judging.every_step(views[0]) if step.step_type == "invoke:cargo"]
        for child in dict.fromkeys(filter(None, invoked)):
            view = await query.get_workflow(self._store, child)
            if view.status == "paused":
                with contextlib.suppress(InvalidStateError):
                    await control.resume(self._store, child)
            views.append(view)
        return views if all(view.status in TERMINAL for view in views) else None

    async def _judge(self, item: Item) -> None:
        try:
            views = await self._family(item)
        except UNREACHABLE:
            return
        except NotFoundError as error:
            self.violations.append(f"{item.id}: {error.message}")
            self._load.open.pop(item.id)
            return
        if views is None:
            return
        self._read_effects()
        for view in views:
            self._take(view, item)
        if item.handler == "voyage":
            self.violations += judging.illegal_journals(views)
            self.violations += judging.orphans({view.invocation_id: view for view in views})
        else:
            self.violations += illegal(views[0], item)
        self._load.open.pop(item.id)
        (self._effects.parent / item.id).unlink(missing_ok=True)
        if next(self._numbers) % _DELETED_OF == 0:
            with contextlib.suppress(NotFoundError, *UNREACHABLE):
                await control.delete(self._store, item.id)
                self._gone_at[item.id] = time.time()
                self._load.did["delete"] += 1

    def _take(self, view: WorkflowView, item: Item) -> None:
        me = view.invocation_id
        effects = self._fresh.pop(me, [])
        # Their tokens may be what is recorded, so they are left out only where an effect would be too late.
        judged = [effect for effect in effects if not self._is_thawed(effect)]
        every, kept = list(judging.repeated([view], effects)), list(judging.repeated([view], judged))
        never = [text for text in every if text.endswith("that it never had")]
        late = [text for text in kept if not text.endswith("that it never had")]
        self.thawed_effects += len(every) - len(never) - len(late)
        self.violations += [*never, *late]
        recorded = {step.step_type: step.finished_at for step in view.journal or () if step.response is not None}
        self._recorded[me] = (view.finished_at, recorded)
        self._gone_at[me] = view.finished_at / 1e6 + RETENTION_SECONDS
        self.steps += sum(1 for step, _ in judging.every_step(view) if step.kind in {"step", "compensation"})
        self.ends[view.handler, view.status] += 1
        if item.handler == "quick":
            self.latencies.append((view.finished_at - view.created_at) / 1e3)

    def _is_thawed(self, effect: judging.Effect) -> bool:
        """Of a process that was frozen while it was about to do it: nothing can hold that back."""
        return any(since <= effect.at <= until for since, until in self.frozen[effect.pid])

    def _read_effects(self) -> None:
        if not self._effects.exists():
            return
        with self._effects.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            said = json.loads(line)
            effect = judging.Effect(said["id"], said["step"], said["token"], said["at"], said["pid"])
            self.effects += 1
            ended = self._recorded.get(effect.invocation_id)
            if ended is None:
                self._fresh[effect.invocation_id].append(effect)
            elif self._is_thawed(effect):
                self.thawed_effects += 1
            else:
                late = (effect.at - ended[0]) / 1e6
                self.violations.append(
                    f"{effect.invocation_id}: {effect.step} ran in {effect.pid}, {late:.3f} s after the end"
                )

    def freeze(self, pid: int, since: float) -> None:
        """A process is being frozen; its effects count as such until some seconds after ``thaw``."""
        self.frozen[pid].append((since * 1e6, float("inf")))

    def thaw(self, pid: int) -> None:
        since, _ = self.frozen[pid][-1]
        self.frozen[pid][-1] = (since, (time.time() + _THAW_SECONDS) * 1e6)

    async def finish(self) -> None:
        """What has been deleted, or should be gone, is."""
        self._read_effects()
        self.violations += [f"{each}: effects of a workflow that nobody started" for each in self._fresh]
        late = [each for each, moment in self._gone_at.items() if moment + 5 < time.time()]
        for at in range(0, len(late), 1000):
            found = await states.load_many(self._store, late[at : at + 1000])
            self.violations += [f"{each}: it is still there" for each in found]


def illegal(view: WorkflowView, item: Item) -> Iterator[str]:
    """What is wrong with the end or the journal of a workflow that only succeeds."""
    me = view.invocation_id
    if view.status != "completed":
        yield f"{me}: {view.status} ({view.error_type}: {view.error})"
        return
    steps = sorted(view.journal or (), key=lambda step: step.step_number)
    if [step.step_number for step in steps] != list(range(len(steps))):
        yield f"{me}: its journal has the numbers {[step.step_number for step in steps]}"
    output: Any = view.output["tokens"] if item.handler == "listener" else view.output
    tokens = [step.response for step in steps if step.kind == "step"]
    if output != tokens:
        yield f"{me}: its output {output} is not what its journal holds: {tokens}"
    if [step.step_type for step in steps] != list(_names(item, len(tokens))):
        yield f"{me}: its steps are {[step.step_type for step in steps]}"
    if item.handler == "listener":
        values = view.output["values"]
        if item.is_doubtful:
            values = [value for value, _ in itertools.groupby(values)]
        if values != item.said:
            yield f"{me}: {item.said} was sent, {view.output['values']} received"


def _names(item: Item, count: int) -> Iterator[str]:
    if item.handler == "listener":
        for number in range(count):
            yield from ("signal:word", f"s{number}")
    elif item.handler == "nap_chain":
        yield from ("s0", "s1", "sleep", "end")
    else:
        number = item.plan[0] if item.handler == "chain" else item.plan
        yield from (f"s{n}" for n in range(number))
