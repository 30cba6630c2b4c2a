"""A schedule has fired: start its workflow, unless the last one still runs and the schedule says to skip then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.errors import AlreadyExistsError
from durablectl.model.clock import to_datetime
from durablectl.model.records import Command
from durablectl.model.schedules import CATCH_UP_MICROSECONDS, SKIP, Schedule
from durablectl.model.status import is_terminal
from durablectl.model.values import encode_value
from durablectl.storage.records import schedules, states
from durablectl.storage.transitions.start_writes import start_command

if TYPE_CHECKING:
    from durablectl.engine.worker.resources import Resources
    from durablectl.storage.commands.pulls import Delivery

_log = logging.getLogger(__name__)


async def fire(resources: Resources, delivery: Delivery, name: str) -> None:
    """Start the workflow of one fire, once: its id and token follow from the schedule and the time of the fire."""
    while True:
        loaded = await schedules.load(resources.store, name)
        if loaded is None:
            return
        schedule, revision = loaded
        if schedule.paused or schedule.last_fired_at >= delivery.timestamp_us:
            return
        late = resources.clock.now() - delivery.timestamp_us > CATCH_UP_MICROSECONDS
        if schedule.overlap == SKIP and await _still_runs(resources, schedule):
            schedule.skipped += 1
            _log.info("Schedule %s: skipped, %s still runs.", name, schedule.last_invocation_id)
        else:
            schedule.last_invocation_id = await _start(resources, schedule, delivery.timestamp_us)
            schedule.fired += 1
            schedule.caught_up += late
            what = "catching up on a missed fire, " if late else ""
            _log.info("Schedule %s: %sstarted %s.", name, what, schedule.last_invocation_id)
        schedule.last_fired_at = delivery.timestamp_us
        if await schedules.write(resources.store, schedule, revision):
            return


async def _still_runs(resources: Resources, schedule: Schedule) -> bool:
    if not schedule.last_invocation_id:
        return False
    stored = await states.load(resources.store, schedule.last_invocation_id)
    return stored is not None and not is_terminal(stored.execution.status)


async def _start(resources: Resources, schedule: Schedule, fired_at_us: int) -> str:
    stamp = to_datetime(fired_at_us).strftime("%Y%m%dT%H%M%S")
    command = Command(
        invocation_id=f"{schedule.name}-{stamp}",
        handler=schedule.handler,
        input=encode_value(schedule.input, f"the input of schedule {schedule.name}"),
        partition_key=schedule.partition_key,
        created_at=fired_at_us,
        start_token=f"schedule-{fired_at_us}",
        schedule=schedule.name,
    )
    try:
        await start_command(resources.store, command)
    except AlreadyExistsError as error:
        _log.warning("Schedule %s: %s", schedule.name, error.message)
    return command.invocation_id
