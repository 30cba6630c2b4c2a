"""Commands whose delivery no processor received, and that JetStream would redeliver after ``ack_wait`` only.

A connection broke while they were on their way, their consumer lost its leader, or the processor that had them is gone
and had not come to them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import InvalidNameError, StorageError
from durablectl.model.codec import decode_command
from durablectl.model.concurrency import map_concurrently
from durablectl.model.kinds import CommandKind
from durablectl.model.status import Status
from durablectl.model.validation import check_command
from durablectl.storage.commands import command_queue
from durablectl.storage.index.comparison import batches
from durablectl.storage.records import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from durablectl.model.records import Command, Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import Change

_log = logging.getLogger(__name__)

_SCAN_APART_SECONDS = 1.0
"""A command unchanged since the scan before is undelivered; if a processor has it after all, one claim is refused."""
_IDLE_SCAN_SECONDS = 5.0
_LEADER_SECONDS = 3.0


class _UndeliveredCommand(NamedTuple):
    """A command that no processor seems to work on; ``revision`` is that of its invocation, 0 where there is none."""

    command: Command
    stored_at_us: int
    revision: int


class UndeliveredScanner:
    """Scans for them once that is scheduled, or a consumer has another leader; this process takes what it finds.

    ``take`` is called with a command and when it was stored (microseconds); False when it cannot be taken here.
    ``is_dropped`` says whether an invocation belongs to this processor, which does not run it.
    A command that is the same in two scans, one second apart, is undelivered.
    """

    def __init__(
        self, store: Store, take: Callable[[Command, int], bool], is_dropped: Callable[[Execution], bool]
    ) -> None:
        self._store = store
        self._take = take
        self._is_dropped = is_dropped
        self._handlers: tuple[str, ...] = ()
        self._leaders: dict[str, str] = {}
        self._scans_left = 0
        self._seen: dict[int, _UndeliveredCommand] = {}
        self._taken: set[int] = set()
        self._until = 0.0
        self._next_scan = 0.0
        self._next_leader_check = 0.0
        self._loop = asyncio.get_running_loop()

    async def prepare(self, handlers: Iterable[str]) -> bool:
        """Whether a command of these handlers is in work, or undelivered."""
        self._handlers = tuple(handlers)
        infos = await map_concurrently(self._consumer, self._handlers)
        return any(info and info["num_ack_pending"] for info in infos)

    def schedule_scans(self, seconds: float = 0) -> None:
        """Scan twice from now on, and then, less often, for ``seconds``; take what no processor works on."""
        self._scans_left = 2
        self._next_scan = min(self._next_scan, self._loop.time() + _SCAN_APART_SECONDS)
        self._until = max(self._until, self._loop.time() + seconds)

    async def scan_if_due(self) -> None:
        """Scan, if one is due; meant to be called often. Raises DurableError."""
        now = self._loop.time()
        if self._store.requests.is_cluster and now >= self._next_leader_check:
            self._next_leader_check = now + _LEADER_SECONDS
            for handler in self._handlers:
                await self._consumer(handler)
        if now < self._next_scan or not (self._scans_left or now < self._until):
            return
        found = await self._scan()
        before, self._seen = self._seen, found
        left = {sequence: each for sequence, each in found.items() if before.get(sequence) == each}
        taken = [await self._redeliver(sequence, each) for sequence, each in left.items()]
        if any(taken):
            _log.warning("%d commands were delivered to nobody, and are taken up again.", sum(taken))
        self._scans_left = max(self._scans_left - 1, 1 if left else 0)
        self._next_scan = self._loop.time() + (_SCAN_APART_SECONDS if self._scans_left else _IDLE_SCAN_SECONDS)

    async def _consumer(self, handler: str) -> dict[str, Any] | None:
        info = await command_queue.consumer_info(self._store, command_queue.consumer_name(handler))
        leader = (info or {}).get("cluster", {}).get("leader", "")
        if self._leaders.setdefault(handler, leader) != leader:
            self._leaders[handler] = leader
            self.schedule_scans()
        return info

    async def _scan(self) -> dict[int, _UndeliveredCommand]:
        """By their sequence in the stream."""
        delivered: dict[int, tuple[Command, int]] = {}
        there: set[int] = set()
        for handler in self._handlers:
            info = await self._consumer(handler)
            for change in await command_queue.list_unacknowledged(self._store, handler, info) if info else ():
                there.add(change.sequence)
                command = self._read(change)
                if command is not None and change.sequence not in self._taken:
                    delivered[change.sequence] = (command, change.timestamp_us)
        self._taken &= there
        found = {}
        for batch in batches(delivered):
            loaded = await states.load_many(self._store, [delivered[sequence][0].invocation_id for sequence in batch])
            for sequence in batch:
                command, stored_at_us = delivered[sequence]
                stored = loaded.get(command.invocation_id)
                if self._is_undelivered(command, stored.execution if stored else None):
                    found[sequence] = _UndeliveredCommand(command, stored_at_us, stored.revision if stored else 0)
        return found

    def _read(self, change: Change) -> Command | None:
        """None for what is to be set aside, or passed on: that is done when it comes again."""
        try:
            command = decode_command(change.data)
            check_command(command)
        except (StorageError, InvalidNameError):
            return None
        return command if command.handler in self._handlers else None

    def _is_undelivered(self, command: Command, execution: Execution | None) -> bool:
        """Whether a command would change anything in this state."""
        if command.kind == CommandKind.FIRE:
            return True
        if execution is None:
            return command.kind == CommandKind.START
        if execution.status == Status.RUNNING:
            return self._is_dropped(execution) or (
                command.kind == CommandKind.CANCEL and not execution.cancel_requested
            )
        return execution.status in {Status.PENDING, Status.SUSPENDED} or (
            command.kind == CommandKind.CANCEL and execution.status == Status.PAUSED
        )

    async def _redeliver(self, sequence: int, left: _UndeliveredCommand) -> bool:
        """Here; else a copy of the command calls another, once for all processors that have found it.

        False for what has to wait for a slot here.
        """
        if not self._take(left.command, left.stored_at_us):
            if left.command.kind == CommandKind.FIRE:
                return False  # What it starts is named after the time at which it was stored.
            copy = command_queue.publication(self._store, left.command, f"stranded-{sequence}")
            await self._store.requests.exchange([copy])
        self._taken.add(sequence)
        return True
