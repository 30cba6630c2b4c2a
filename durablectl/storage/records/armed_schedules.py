"""Schedules whose message, by which nats-server fires them, is gone: purged, lost, expired, or not in a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import UnreadableError
from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED
from durablectl.storage.records import schedules
from durablectl.storage.streams.direct_get import subjects_matching
from durablectl.storage.subjects import RECURRENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.schedules import Schedule
    from durablectl.storage.connection.store import Store


async def armed_names(store: Store) -> set[str]:
    """The names of those that the server fires, whether or not their record is there."""
    subjects = store.subjects
    found = await subjects_matching(store, subjects.commands_stream, [subjects.recurrence("*")])
    return {subject.rpartition(".")[2] for subject in found} - {RECURRENCE}


async def find_unarmed(store: Store) -> list[Schedule]:
    """Those that are not paused, and that the server does not fire."""
    known = [schedule for schedule in await schedules.load_all(store) if not schedule.paused]
    if not known:
        return []
    armed = await armed_names(store)
    return [schedule for schedule in known if schedule.name not in armed]


async def arm_again(store: Store, unarmed: Sequence[Schedule]) -> list[str]:
    """Arm those that are still not armed; the names of those for which that was done.

    A schedule may be paused or deleted meanwhile: its record is read again after the write, which is taken back then.
    """
    done = []
    for schedule in unarmed:
        request = schedules.arming(store, schedule)
        try:
            await store.requests.publish(request.subject, request.payload, {**(request.headers or {}), EXPECTED: "0"})
        except WrongSequenceError:
            continue
        if await _is_wanted(store, schedule):
            done.append(schedule.name)
        else:
            await store.requests.exchange(schedules.disarming(store, schedule))
    return done


async def _is_wanted(store: Store, schedule: Schedule) -> bool:
    try:
        loaded = await schedules.load(store, schedule.name)
    except UnreadableError:
        return False
    return loaded is not None and not loaded[0].paused and loaded[0].expression() == schedule.expression()
