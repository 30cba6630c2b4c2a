"""Noticing processors that died without a word, and calling for their workflows to be taken over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from durablectl.errors import DurableError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status
from durablectl.model.throttled_log import ThrottledLog
from durablectl.model.validation import is_valid
from durablectl.storage.commands.pulls import PULL_SECONDS
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases, presence, states
from durablectl.storage.streams.feed import StreamRestoredError, follow
from durablectl.storage.streams.provision import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from durablectl.engine.recovery.undelivered import UndeliveredScanner
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState

_log = logging.getLogger(__name__)
_throttled = ThrottledLog(_log)

_CHECK_SECONDS = 0.5
_MARGIN_SECONDS = 0.5
_BATCH_SIZE = 500
_OWNED = (Status.PENDING, Status.RUNNING)
"""The index groups of what a processor may run: of what it claimed just now, the index still says "pending"."""


def _was_dropped(execution: Execution) -> bool:
    """Handed back by a processor that died before it called another."""
    return execution.status == Status.PENDING and execution.attempt > 0


class Failover:
    """Follows all leases. When one runs out, every survivor tries to claim what it ran; one of them wins.

    ``adopt`` takes an invocation over in this process; False when it cannot. A command would not do: JetStream may
    hand it to the very processor that is frozen. Only what does not fit in here is called for by a command. ``repair``
    makes the writes after a state that took its invocation out of a processor's hands: the dead one may not have
    come to them. ``scanner`` finds what was delivered to it, and what was lost on the way during an outage.
    """

    def __init__(
        self,
        store: Store,
        processor_id: str,
        adopt: Callable[[Execution], bool],
        repair: Callable[[StoredState], Awaitable[None]],
        scanner: UndeliveredScanner,
    ) -> None:
        self._store = store
        self._processor_id = processor_id
        self._adopt = adopt
        self._repair = repair
        self._scanner = scanner
        self._renewed: dict[str, float] = {}
        self._blocked: dict[str, float] = {}
        """By the processor that is blocked, when scans were last scheduled for that."""
        self._reconnects = 0
        self._handlers: frozenset[str] = frozenset()
        self._may_have_orphans = True
        self._on_restored_store: set[str] = set()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Without end; a lost connection is waited for."""
        subjects = self._store.subjects
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_leases())
            while True:
                with contextlib.suppress(StreamRestoredError):
                    async with follow(self._store, subjects.processors_stream, subjects.processors_subjects) as feed:
                        async for change in feed:
                            self._lease_seen(subjects.processor_of(change.subject), change.data)

    def _lease_seen(self, processor_id: str, data: bytes) -> None:
        """Note that a processor lives; take what was delivered to one whose event loop is blocked."""
        now = self._renewed[processor_id] = self._loop.time()
        lease = leases.parse(data, processor_id)
        if lease is None or not lease.blocked_since:
            self._blocked.pop(processor_id, None)
        elif now - self._blocked.get(processor_id, -PULL_SECONDS) >= PULL_SECONDS:
            self._blocked[processor_id] = now
            self._scanner.schedule_scans(PULL_SECONDS)

    async def prepare(self, handlers: Iterable[str]) -> None:
        """Before this processor takes commands: are there some in work? Their processors may be gone unseen.

        An invocation that runs, or was dropped, has a command that is not acknowledged.
        """
        self._handlers = frozenset(handlers)
        self._may_have_orphans = await self._scanner.prepare(self._handlers)
        if self._may_have_orphans:
            self._scanner.schedule_scans()

    def expect_orphans(self, processor_id: str) -> None:
        """The store has been put back: what ran then, on this processor too, may run nowhere now."""
        self._on_restored_store.add(processor_id)
        self._may_have_orphans = True
        self._scanner.schedule_scans()

    async def _watch_leases(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self._restart_leases_after_outage()
            deadline = self._loop.time() - LEASE_SECONDS - _MARGIN_SECONDS
            silent = [processor for processor, renewed in self._renewed.items() if renewed < deadline]
            if not self._store.is_connected:
                continue
            if self._is_a_processor_silent():
                self._scanner.schedule_scans()
            try:
                dead = {processor for processor in silent if not await leases.is_alive(self._store, processor)}
                if dead:
                    # One that is frozen, not gone, is handed commands as long as its pulls are open.
                    self._scanner.schedule_scans(PULL_SECONDS)
                    held = await self._take_over(lambda owner, dead=dead: owner in dead)  # type: ignore[misc]
                    await self._mark_lost(dead, held)
                elif self._may_have_orphans:
                    await self._take_orphans()
                for processor in dead:
                    del self._renewed[processor]
                await self._scanner.scan_if_due()
            except DurableError as error:
                message = "Could not look for workflows to take over, will try again: %s"
                _throttled.write(type(error).__name__, message, error)

    def _is_a_processor_silent(self) -> bool:
        """Long before its lease runs out: what was delivered to it is known by then."""
        since = self._loop.time() - LEASE_SECONDS + _CHECK_SECONDS
        return any(renewed < since for renewed in self._renewed.values())

    async def _take_orphans(self) -> None:
        alive = {lease.processor_id for lease in await leases.live_processors(self._store)}
        at_work = alive - self._on_restored_store
        held = await self._take_over(lambda owner: owner not in at_work)
        await self._mark_lost({owner for owner in held if owner not in alive}, held)
        self._on_restored_store.clear()
        self._may_have_orphans = False

    async def _mark_lost(self, processors: Iterable[str], held: Mapping[str, Sequence[str]]) -> None:
        """Record for readers that these processors are gone, since when, and what they ran. Best effort."""
        now, loop_now = self._store.clock.now(), self._loop.time()
        for processor in processors:
            renewed = self._renewed.get(processor)
            lost_at = 0 if renewed is None else now - int((loop_now - renewed) * MICROSECONDS)
            try:
                await presence.mark_lost(self._store, processor, lost_at, held.get(processor, ()))
            except DurableError as error:
                _log.debug("It could not be recorded that %s is gone: %s", processor, error)

    def _restart_leases_after_outage(self) -> None:
        """While nobody can renew, nobody is dead: all leases count from when that was over.

        Of an outage of the server this processor knows; that the leases have no leader it sees by its own.
        """
        reconnects = self._store.reconnects
        is_seen = self._renewed.get(self._processor_id, 0) > self._loop.time() - LEASE_SECONDS + leases.RENEW_SECONDS
        if reconnects != self._reconnects or not (is_seen and self._store.is_connected):
            self._reconnects = reconnects
            self._renewed = dict.fromkeys(self._renewed, self._loop.time())
            self._scanner.schedule_scans()

    async def _take_over(self, is_dead: Callable[[str], bool]) -> dict[str, list[str]]:
        """Claim here what fits in, and call for others; the ids of what ran, by the processor that is gone."""
        orphans: list[tuple[Execution, bool]] = []
        batch: list[str] = []
        async for invocation_id in index_entries.list_indexed_ids(self._store, _OWNED):
            batch.append(invocation_id)
            if len(batch) == _BATCH_SIZE:
                orphans += await self._adopt_or_wake(batch, is_dead)
                batch = []
        orphans += await self._adopt_or_wake(batch, is_dead)
        if orphans:
            with contextlib.suppress(DurableError):  # of a look that is for the log only
                await self._report(orphans)
        held: dict[str, list[str]] = defaultdict(list)
        for execution, _ in orphans:
            if execution.owner:
                held[execution.owner].append(execution.invocation_id)
        return held

    async def _report(self, orphans: Sequence[tuple[Execution, bool]]) -> None:
        """Log what becomes of the workflows of processors that are gone: here, elsewhere, or nowhere."""
        claimed = sum(is_claimed for _, is_claimed in orphans)
        if claimed:
            _log.warning("Claiming %d workflows of processors that are gone.", claimed)
        left = Counter(execution.handler for execution, is_claimed in orphans if not is_claimed)
        full = sum(number for handler, number in left.items() if handler in self._handlers)
        if full:
            _log.warning("%d workflows of processors that are gone wait for a free slot, here or elsewhere.", full)
        foreign = {handler for handler in left if handler not in self._handlers}
        if not foreign:
            return
        served = {name for lease in await leases.live_processors(self._store) for name in lease.all_handlers}
        for handler in sorted(foreign - served):
            _log.warning(
                "%d workflows of processors that are gone wait: no live processor has their handler %s.",
                left[handler],
                handler,
            )

    async def _adopt_or_wake(
        self, invocation_ids: list[str], is_dead: Callable[[str], bool]
    ) -> list[tuple[Execution, bool]]:
        """What has lost its processor, each with whether it is claimed here."""
        loaded = await states.load_many(self._store, invocation_ids)
        found = {invocation_id: stored for invocation_id, stored in loaded.items() if is_valid(stored.execution)}
        for stored in found.values():
            if stored.execution.index_group not in _OWNED:
                await self._repair(stored)
        orphans = [
            stored.execution
            for stored in found.values()
            if _was_dropped(stored.execution)
            or (stored.execution.status == Status.RUNNING and is_dead(stored.execution.owner))
        ]
        adopted = [(execution, self._adopt(execution)) for execution in orphans]
        await self._store.requests.exchange(
            [
                wake_request(self._store, e, f"takeover-{e.invocation_id}-{e.attempt}")
                for e, is_claimed in adopted
                if not is_claimed
            ]
        )
        return adopted
