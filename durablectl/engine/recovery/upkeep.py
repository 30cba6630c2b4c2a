"""What a processor looks after while it runs: the streams, the commands and schedules in them, abandoned workflows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from durablectl.engine.recovery.index_filler import IndexFiller
from durablectl.errors import DurableError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.diagnosis import inspection
from durablectl.storage.diagnosis.abandoned import find_abandoned
from durablectl.storage.diagnosis.recall import call_for, load_marker, recall_all
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases
from durablectl.storage.records.armed_schedules import arm_again, find_unarmed
from durablectl.storage.streams.provision import create_stream, stream_info, wanted_streams
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.inspection import StreamCondition
    from durablectl.storage.diagnosis.recall import CommandsMarker

_log = logging.getLogger(__name__)

_STREAMS_SECONDS = 3.0
_ROUNDS_PER_SEARCH = 10
"""One in so many looks at the streams also searches the records, on one processor of all."""
_RECENT_MICROSECONDS = 600 * MICROSECONDS
"""For so long after commands were lost, runs that were lost with them are looked for among pending workflows, too."""
_MOST_PENDING = 2000
"""Of pending workflows only the oldest are looked at, so that a backlog costs little."""


class Upkeep:
    """Makes streams that are gone again, and calls for the work that was lost with them.

    ``adopt`` takes an invocation over in this process; False when it cannot. ``forget_stored`` is called when the
    stream of states has been replaced by another one. ``replicas`` is how many a new stream has; None takes as many as
    the others have.
    """

    def __init__(
        self,
        store: Store,
        processor_id: str,
        adopt: Callable[[Execution], bool],
        forget_stored: Callable[[], None],
        replicas: int | None,
    ) -> None:
        self._store = store
        self._processor_id = processor_id
        self._adopt = adopt
        self._forget_stored = forget_stored
        self._replicas = replicas or 0
        self._told: dict[str, str] = {}
        self._known_states = ""
        """Identifies the stream of states that handlers and message types were stored in."""
        self._index_filler = IndexFiller(store, processor_id)

    async def run(self) -> None:
        """Look without end; what fails is tried again."""
        rounds = 0
        while True:
            try:
                index = await self._look_at_streams()
                is_index_settled = await self._index_filler.settle(index)
                marker = await load_marker(self._store)
                if marker is None and is_index_settled:  # which leads to what is called for
                    await self._recall()
                if rounds % _ROUNDS_PER_SEARCH == 1 and await self._is_first():
                    await self._search(marker)
                self._told.pop("", None)
            except DurableError as error:
                self._tell("", f"The streams could not be looked after, will try again: {error}", logging.WARNING)
            rounds += 1
            await asyncio.sleep(_STREAMS_SECONDS)

    def _tell(self, about: str, message: str, level: int) -> None:
        """Log it once, until something else is to be said about it."""
        if self._told.get(about) != message:
            self._told[about] = message
            _log.log(level, "%s", message)

    async def _look_at_streams(self) -> str:
        """What identifies the index stream now."""
        conditions = await inspection.read_stream_conditions(self._store, self._replicas)
        wanted = wanted_streams(self._store.subjects)
        number = self._replicas or max((each.replicas for each in conditions), default=0) or 1
        index = ""
        for each in conditions:
            if not each.exists:
                await create_stream(self._store, {**wanted[each.kind], "num_replicas": number})
                self._created(each, conditions)
                if each.kind is StreamKind.INDEX:
                    index = str(((await stream_info(self._store, each.name)) or {}).get("created", ""))
            elif blocking := [risk for risk in each.risks if risk.blocks]:
                risks = "; ".join(map(str, blocking))
                hint = "Run `durablectl doctor --repair --streams`."
                self._tell(each.name, f"The stream {each.name} was changed: {risks}. {hint}", logging.ERROR)
            else:
                self._told.pop(each.name, None)
            if each.exists and each.kind is StreamKind.STATES and each.created != self._known_states:
                if self._known_states:
                    self._forget_stored()  # another process has created it again
                self._known_states = each.created
            elif each.exists and each.kind is StreamKind.INDEX:
                index = each.created
        return index

    def _created(self, stream: StreamCondition, conditions: Sequence[StreamCondition]) -> None:
        if stream.kind is StreamKind.STATES:
            self._forget_stored()
        entries = next((each.messages for each in conditions if each.kind is StreamKind.INDEX), 0)
        if stream.kind is StreamKind.STATES and entries:
            _log.error(
                "The stream %s was gone, with the records of all workflows, and was created empty. %s still lists %d: "
                "restore the records from a backup. Until then, do not run `durablectl doctor --repair --forget-lost`.",
                stream.name,
                self._store.subjects.index_stream,
                entries,
            )
        else:
            _log.warning("The stream %s was gone, and was created again.", stream.name)

    async def _recall(self) -> None:
        recalled = await recall_all(self._store)
        if recalled.workflows or recalled.schedules:
            _log.warning(
                "Commands were lost: %d workflows were called for again, and %d schedules armed again.",
                recalled.workflows,
                len(recalled.schedules),
            )

    async def _is_first(self) -> bool:
        """Whether this is the processor that searches for all: the longest-running."""
        live = await leases.live_processors(self._store)
        return bool(live) and live[0].processor_id == self._processor_id

    async def _search(self, marker: CommandsMarker | None) -> None:
        """Find what no processor works on, and schedules that never fire."""
        running = [each async for each in index_entries.list_indexed_ids(self._store, [Status.RUNNING])]
        if marker is None or marker.recalled_at > self._store.clock.now() - _RECENT_MICROSECONDS:
            # Of what was claimed a moment before its run was lost, the index still says that it is pending.
            running += await index_entries.oldest_ids(self._store, Status.PENDING, _MOST_PENDING)
        abandoned = await find_abandoned(self._store, running)
        if abandoned:
            _log.warning("%d workflows ran on no processor, and are taken over.", len(abandoned))
        others = []
        for execution in abandoned:
            if await leases.is_alive(self._store, execution.owner):
                # Only its owner can tell for certain, and takes what it does not work on.
                await notify_processor(self._store, execution.owner, execution.invocation_id)
            elif not self._adopt(execution):
                others.append(execution)
        await call_for(self._store, others)
        armed = await arm_again(self._store, await find_unarmed(self._store))
        if armed:
            _log.warning("Schedules whose messages were gone were armed again: %s.", ", ".join(armed))
