"""The load of the soak: workflows of every kind at a steady rate, steered and answered; a ledger knows all of them."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl import control, query
from durablectl.errors import AlreadyExistsError, InvalidStateError, NotFoundError, NotProvisionedError
from durablectl.storage.records.states import UNREACHABLE
from helpers.chaos_operator import Operator, voyage_plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from durablectl.storage.connection.store import Store

WORDS = 3
_KINDS = {"quick": 60, "failing": 10, "nap_chain": 10, "listener": 8, "voyage": 10, "chain": 2}
_LONG = 300
_MOST_OPEN = 400
_STEERED_SECONDS = {"voyage": 8.0, "nap_chain": 3.0, "chain": 3.0}


@dataclass
class Item:
    """One workflow that was started; it is left alone from ``free_at`` on, and judged once it has ended then."""

    id: str
    handler: str
    plan: Any
    free_at: float
    is_started: bool = False
    busy: int = 0
    said: list[str] = field(default_factory=list)
    is_doubtful: bool = False
    """Whether an answer to a signal was lost, so that it may have been sent twice."""
    missing: int = 0


class Load:
    """Starts ``rate`` workflows a second until it is stopped, as long as not too many are open."""

    def __init__(self, store: Store, directory: Path, number: int, rate: float) -> None:
        self._store = store
        self._choices = random.Random(number)
        self._operator = Operator(store, directory, random.Random(f"{number} steering"))
        self._rate = rate
        self._ledger = (directory / "ledger.jsonl").open("a", encoding="utf-8")
        self.open: dict[str, Item] = {}
        self.did: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.violations: list[str] = []
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._operate())
            due, number = time.monotonic(), 0
            while not self.stopping.is_set():
                due = max(due + 1 / self._rate, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if len(self.open) >= _MOST_OPEN:
                    self.did["held back"] += 1
                    continue
                group.create_task(self._start(number))
                number += 1

    async def _start(self, number: int) -> None:
        [handler] = self._choices.choices(list(_KINDS), list(_KINDS.values()))
        plan: Any = {
            "quick": 3,
            "failing": 3,
            "nap_chain": [2, self._choices.choice([0.3, 1.5, 3])],
            "listener": None,
            "voyage": voyage_plan(self._choices),
            "chain": [_LONG, 0.0],
        }[handler]
        item = Item(f"{handler}-{number}", handler, plan, time.monotonic() + _STEERED_SECONDS.get(handler, 0.0))
        self._ledger.write(json.dumps([item.id, handler, plan, time.time()]) + "\n")
        self._ledger.flush()
        self.open[item.id] = item
        self.started[handler] += 1
        item.busy += 1
        tries = 0

        async def begin() -> None:
            nonlocal tries
            tries += 1
            try:
                await control.start(self._store, control.StartRequest(handler, plan, item.id))
            except AlreadyExistsError:
                if tries == 1:
                    self.violations.append(f"{item.id}: it existed before it was started")

        await self.patiently(begin)
        item.is_started = True
        if handler == "listener":
            await self._speak(item)
        item.busy -= 1

    async def _speak(self, item: Item) -> None:
        for number in range(WORDS):
            word = "last" if number == WORDS - 1 else f"word-{number}"
            item.said.append(word)
            await asyncio.sleep(self._choices.choice([0.0, 0.05, 0.3]))
            try:
                await self.patiently(functools.partial(control.signal, self._store, item.id, "word", word), item)
            except InvalidStateError:
                if not item.is_doubtful:
                    self.violations.append(f"{item.id}: {word} was refused")

    async def patiently(self, work: Callable[[], Awaitable[object]], item: Item | None = None) -> None:
        """Until somebody answers."""
        while True:
            try:
                await work()
            except UNREACHABLE:
                self.did["nobody answered"] += 1
                if item is not None:
                    item.is_doubtful = True
                await asyncio.sleep(0.2)
            else:
                return

    async def _operate(self) -> None:
        """Mostly the recent ones: the others have ended."""
        while not self.stopping.is_set():
            await asyncio.sleep(self._choices.uniform(0.0, 0.06))
            now = time.monotonic()
            targets = [item for item in self.open.values() if item.free_at > now and item.is_started]
            if not targets:
                continue
            item = targets[-1 - int(self._choices.expovariate(1 / 15)) % len(targets)]
            item.busy += 1
            try:
                await self._steer(item)
            except UNREACHABLE:
                self.did["nobody answered"] += 1
            finally:
                item.busy -= 1

    async def _steer(self, item: Item) -> None:
        if item.handler == "voyage":
            target = item.id
            if self._choices.random() < 0.15:
                children = (await query.get_workflow(self._store, item.id)).children
                target = self._choices.choice(children) if children else target
            self.did[await self._operator.act(target)] += 1
            return
        operation = self._choices.choice([control.pause, control.resume])
        try:
            await operation(self._store, item.id)
        except NotProvisionedError:  # the server is stopping
            raise
        except (InvalidStateError, NotFoundError):
            self.did[f"{operation.__name__} refused"] += 1
        else:
            self.did[operation.__name__] += 1

    async def settle(self, item: Item, status: str) -> None:
        """Let go on what is left alone and has not ended: resume what is paused, answer what is asked."""
        try:
            if status == "paused":
                await control.resume(self._store, item.id)
                self.did["resume"] += 1
            elif item.handler == "voyage":
                await control.resolve(self._store, f"{item.id}.approval", 1)
                self.did["resolve"] += 1
        except (InvalidStateError, NotFoundError, *UNREACHABLE):
            return
