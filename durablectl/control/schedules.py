"""Schedules: created, paused, resumed, deleted, triggered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from durablectl.control.audit_trail import audited, record_change
from durablectl.control.start import StartRequest, start
from durablectl.errors import (
    AlreadyExistsError,
    NotFoundError,
    NotProvisionedError,
    PermissionDeniedError,
    StorageError,
    UnreadableError,
    UsageError,
)
from durablectl.limits import LONGEST_SECONDS, checked_count
from durablectl.model.clock import SYSTEM_CLOCK, to_rfc3339
from durablectl.model.names import validate_app_handler, validate_name, validate_new_name
from durablectl.model.schedules import OVERLAPS, SKIP, Schedule, check_cron
from durablectl.model.values import encode_value
from durablectl.storage.records import schedules
from durablectl.storage.records.armed_schedules import armed_names
from durablectl.storage.streams.provision import provision, require_provisioned

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

_LONGEST_NAME = 100


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as queries show it; ``next_at`` in microseconds, 0 for never.

    ``is_armed`` is False where the message by which nats-server would fire it is gone.
    """

    schedule: Schedule
    next_at: int
    is_armed: bool = True

    def to_json(self) -> dict[str, Any]:
        schedule = self.schedule
        return {
            "name": schedule.name,
            "handler": schedule.handler,
            "input": schedule.input,
            "partition_key": schedule.partition_key or None,
            "cron": schedule.cron or None,
            "time_zone": schedule.time_zone if schedule.cron else None,
            "every_seconds": schedule.every or None,
            "overlap": schedule.overlap,
            "paused": schedule.paused,
            "armed": self.is_armed,
            "next_at": to_rfc3339(self.next_at),
            "created_at": to_rfc3339(schedule.created_at),
            "last_fired_at": to_rfc3339(schedule.last_fired_at),
            "last_invocation_id": schedule.last_invocation_id or None,
            "fired": schedule.fired,
            "skipped": schedule.skipped,
            "caught_up": schedule.caught_up,
        }


def _view(schedule: Schedule, *, is_armed: bool = True) -> ScheduleView:
    is_armed = is_armed or schedule.paused
    return ScheduleView(schedule, schedule.next_after(SYSTEM_CLOCK.now()) if is_armed else 0, is_armed)


async def _armed_names(store: Store) -> set[str] | None:
    """The schedules that nats-server fires; None where these credentials may not see them."""
    try:
        return await armed_names(store)
    except NotProvisionedError:
        return set()
    except PermissionDeniedError:
        return None


@audited("schedule.create", "name", "cron", "time_zone", "overlap")
async def create_schedule(
    store: Store,
    name: str,
    handler: str,
    *,
    input: Any = None,
    cron: str = "",
    every: int = 0,
    time_zone: str = "UTC",
    overlap: str = SKIP,
    partition_key: str = "",
) -> ScheduleView:
    """Start ``handler`` again and again, by ``cron`` or ``every`` so many seconds; from now on.

    Raises UsageError, InvalidNameError, InvalidValueError, AlreadyExistsError.
    """
    validate_new_name("schedule name", name)
    validate_app_handler("handler", handler)
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"The schedule name has {len(name)} characters.", hint=f"Use at most {_LONGEST_NAME}.")
    if partition_key:
        validate_new_name("partition key", partition_key)
    if bool(cron) == bool(every):
        raise UsageError("A schedule needs either a cron expression or an interval.", hint="Give --cron or --every.")
    if not cron:
        checked_count(every, f"The seconds of schedule {name}", 1, LONGEST_SECONDS)
    if overlap not in OVERLAPS:
        raise UsageError(
            f"The schedule {name} cannot be: every {every} s, overlap {overlap!r}.",
            hint=f"The interval is at least 1 s; overlap is one of {', '.join(OVERLAPS)}.",
        )
    if cron:
        check_cron(cron, time_zone)
    encode_value(input, f"the input of schedule {name}")
    # Paused until nats-server fires it: dying in between leaves a schedule that shows as paused, and can be resumed.
    schedule = Schedule(
        name,
        handler,
        input,
        partition_key,
        cron,
        every,
        time_zone,
        overlap,
        paused=True,
        created_at=SYSTEM_CLOCK.now(),
    )
    await provision(store)
    await record_change(handler, every=every or None)
    if not await schedules.write(store, schedule, 0):
        raise AlreadyExistsError(
            f"A schedule {name} exists already.", hint=f"Delete it first: durablectl schedule delete {name}"
        )
    try:
        view, _ = await _change(store, name, paused=False)
    except StorageError:
        await store.requests.exchange([schedules.removal(store, name)])
        raise
    return view


async def _change(store: Store, name: str, *, paused: bool) -> tuple[ScheduleView, bool]:
    while True:
        schedule, revision = await _load(store, name)
        changed = schedule.paused != paused
        schedule = replace(schedule, paused=paused)
        if changed:
            await record_change(schedule.handler)
            if not await schedules.write(store, schedule, revision):
                continue
        # Also when it was so already: that helps on whoever died between the two writes.
        writes = schedules.disarming(store, schedule) if paused else [schedules.arming(store, schedule)]
        await store.requests.exchange(writes)
        return _view(schedule), changed


@audited("schedule.pause", "name")
async def pause_schedule(store: Store, name: str) -> tuple[ScheduleView, bool]:
    """No more fires; False in the second place when it was paused already."""
    return await _change(store, name, paused=True)


@audited("schedule.resume", "name")
async def resume_schedule(store: Store, name: str) -> tuple[ScheduleView, bool]:
    """Fires again, without catching up; False in the second place when it was not paused."""
    return await _change(store, name, paused=False)


@audited("schedule.delete", "name")
async def delete_schedule(store: Store, name: str) -> None:
    """What it has started goes on. One whose record cannot be read can be deleted, too."""
    try:
        schedule, _ = await _load(store, name)
    except UnreadableError:
        schedule = Schedule(name, "*")  # of whatever handler
    await record_change(schedule.handler)
    await store.requests.exchange([*schedules.disarming(store, schedule), schedules.removal(store, name)])


@audited("schedule.trigger", "name")
async def trigger_schedule(store: Store, name: str) -> str:
    """Start its workflow now, whatever runs and even while it is paused; the invocation id."""
    schedule, _ = await _load(store, name)
    await record_change(schedule.handler)
    request = StartRequest(
        schedule.handler, schedule.input, partition_key=schedule.partition_key or None, schedule=name
    )
    return await start(store, request)


async def get_schedule(store: Store, name: str) -> ScheduleView:
    schedule, _ = await _load(store, name)
    armed = await _armed_names(store)
    return _view(schedule, is_armed=armed is None or name in armed)


async def list_schedules(store: Store) -> list[ScheduleView]:
    """By name."""
    await require_provisioned(store)
    known = await schedules.load_all(store)
    armed = await _armed_names(store) if known else None
    return [_view(each, is_armed=armed is None or each.name in armed) for each in known]


async def _load(store: Store, name: str) -> tuple[Schedule, int]:
    validate_name("schedule name", name)
    loaded = await schedules.load(store, name)
    if loaded is None:
        await require_provisioned(store)
        raise NotFoundError(f"There is no schedule {name}.", hint="List them with `durablectl schedule list`.")
    return loaded
