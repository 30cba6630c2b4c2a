"""What is wrong with a namespace, and what to do about it. Reads everything once, and writes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.model.names import JOB_HANDLER, is_name
from durablectl.model.status import Status
from durablectl.query import doctor_checks
from durablectl.query.doctor_checks import Severity
from durablectl.query.status import get_status
from durablectl.storage.commands.command_queue import count_quarantined
from durablectl.storage.diagnosis import inspection
from durablectl.storage.diagnosis.dead_commands import count_by_handler, find_dead_commands
from durablectl.storage.diagnosis.index_audit import audit, confirm
from durablectl.storage.diagnosis.missing_wakeups import find_missing_wakeups
from durablectl.storage.diagnosis.room import find_full_store
from durablectl.storage.index import index_entries
from durablectl.storage.index.comparison import batches, read_states
from durablectl.storage.records import leases
from durablectl.storage.streams.provision import require_provisioned, stream_config
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durablectl.query.doctor_checks import Check
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.index_audit import Progress, RunningWorkflow
    from durablectl.storage.diagnosis.inspection import StreamCondition
    from durablectl.storage.records.leases import Lease

_TAKEOVER_SECONDS = 2.0
"""What a takeover may last once a lease has run out, 5 s after the last word of who is gone."""
_NEWEST = 5
_OF_LEASES = frozenset({"processors", "handlers", "lost_processors", "takeover"})


@dataclass(frozen=True)
class Diagnosis:
    checks: Sequence[Check]

    @property
    def is_healthy(self) -> bool:
        return all(check.severity == Severity.OK for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"healthy": self.is_healthy, "checks": [check.to_json() for check in self.checks]}


async def diagnose(store: Store, progress: Progress | None = None, *, hung_after: int = 0) -> Diagnosis:
    """Check everything; ``hung_after`` as for ``get_status``.

    Raises NotProvisionedError on a server that holds no workflows, UnsupportedServerError without JetStream.

    A stream that is gone or cannot be read is a finding; what needs it is left out.
    """
    server = await inspection.read_server_info(store)
    conditions = await inspection.read_stream_conditions(store)
    if not any(condition.exists for condition in conditions):
        await require_provisioned(store)
    streams = {condition.kind: condition for condition in conditions}
    live = await leases.live_processors(store) if streams[StreamKind.PROCESSORS].is_readable else []
    full = await find_full_store(store, conditions, has_live_processors=bool(live))
    plumbing = [
        doctor_checks.connection(server),
        doctor_checks.streams(conditions),
        doctor_checks.replicas(conditions),
        doctor_checks.room(full),
    ]
    states = streams[StreamKind.STATES]
    if not states.is_readable:
        entries = streams[StreamKind.INDEX].messages
        clocks = doctor_checks.clocks(await get_status(store))
        return Diagnosis([*plumbing, clocks, doctor_checks.unreadable_workflows(states, entries, store.subjects)])
    checks = [*plumbing, *await _of_workflows(store, streams, live, progress, hung_after)]
    if full is not None and full.silent:
        # Processors that cannot store their leases are silent, not gone.
        checks = [check for check in checks if check.name not in _OF_LEASES]
    return Diagnosis(checks)


async def _of_workflows(
    store: Store,
    streams: Mapping[StreamKind, StreamCondition],
    live: Sequence[Lease],
    progress: Progress | None,
    hung_after: int,
) -> list[Check]:
    has_commands = streams[StreamKind.COMMANDS].is_readable or not streams[StreamKind.COMMANDS].exists
    found = await audit(store, progress, has_index=streams[StreamKind.INDEX].is_readable)
    known = await index_entries.list_handlers(store)
    unknown = await index_entries.unknown_names(store, found.handlers, found.waits)
    disagreements = await confirm(store, found, progress) if found.has_index else []
    orphans = await _orphans(store, found.running, live) if streams[StreamKind.PROCESSORS].is_readable else []
    idle = await find_missing_wakeups(store, found.waiting) if has_commands else []
    served = {name for lease in live for name in (*lease.handlers, *lease.system_handlers)}
    stored = await count_by_handler(store) if streams[StreamKind.COMMANDS].exists else {}
    waiting = await _waiting(store, {*found.handlers, *known, *served, *filter(is_name, stored), JOB_HANDLER})
    dead = await find_dead_commands(store, served) if streams[StreamKind.COMMANDS].is_readable else []
    number = await count_quarantined(store)
    newest = await inspection.newest_quarantined(store, _NEWEST) if number else []
    report = await get_status(store, hung_after=hung_after)
    return [
        doctor_checks.clocks(report),
        doctor_checks.processors(found, live),
        doctor_checks.losses(report.groups),
        doctor_checks.unserved(waiting, live),
        doctor_checks.backlog(waiting),
        doctor_checks.dead_commands(dead),
        doctor_checks.workflows(found),
        doctor_checks.work(report.groups),
        doctor_checks.takeover(orphans, served),
        doctor_checks.calls([each.invocation_id for each in idle]),
        doctor_checks.index_of(found, disagreements, store.subjects),
        doctor_checks.handler_names(sorted(unknown)),
        doctor_checks.records(found, store.subjects),
        doctor_checks.set_aside(number, newest, store.subjects),
    ]


async def _waiting(store: Store, names: set[str]) -> dict[str, int]:
    config = await stream_config(store, store.subjects.commands_stream)
    if config is None or not config.get("allow_direct"):
        return {}
    return await inspection.waiting_commands(store, names)


async def _orphans(store: Store, running: Sequence[RunningWorkflow], live: Sequence[Lease]) -> list[RunningWorkflow]:
    """What still runs on a processor that is gone when those that live have had the time to take it over."""
    alive = {lease.processor_id for lease in live}
    suspects = {each.invocation_id: each for each in running if each.owner not in alive}
    if not suspects:
        return []
    await asyncio.sleep(_TAKEOVER_SECONDS)
    alive = {lease.processor_id for lease in await leases.live_processors(store)}
    found: list[RunningWorkflow] = []
    for batch in batches(suspects):
        states = await read_states(store, batch)
        found += [
            suspects[key]
            for key, seen in states.items()
            if seen.execution.status == Status.RUNNING
            and seen.execution.owner == suspects[key].owner
            and seen.execution.owner not in alive
        ]
    return found
