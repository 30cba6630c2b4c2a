"""Schedules: the record of each, and the message schedule by which nats-server fires it.

Fires go to a subject of their own with a rollup, so that however many were missed while no processor was there, one is
left to be caught up.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.errors import UnreadableError
from durablectl.model.codec import encode_command
from durablectl.model.kinds import CommandKind
from durablectl.model.records import Command
from durablectl.model.schedules import Schedule
from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED, Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import get_last, get_many_last

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)


async def load(store: Store, name: str) -> tuple[Schedule, int] | None:
    """A schedule and its revision. UnreadableError for a record that is none."""
    raw = await get_last(store, store.subjects.state_stream, store.subjects.schedule(name))
    return None if raw is None else (Schedule.decode(raw.data, name), raw.sequence)


async def load_all(store: Store) -> list[Schedule]:
    answer = await get_many_last(store, store.subjects.state_stream, [store.subjects.schedule("*")])
    found = []
    for raw in answer.messages if answer else []:
        try:
            found.append(Schedule.decode(raw.data, raw.subject.rpartition(".")[2]))
        except UnreadableError as error:
            _log.warning("Left out: %s", error)
    return sorted(found, key=lambda schedule: schedule.name)


async def write(store: Store, schedule: Schedule, revision: int) -> bool:
    """Write over the record that stands at ``revision``, 0 for none; False when another writer was first."""
    try:
        await store.requests.publish(
            store.subjects.schedule(schedule.name), schedule.encode(), {EXPECTED: str(revision)}
        )
    except WrongSequenceError:
        return False
    return True


def arming(store: Store, schedule: Schedule) -> Request:
    """The write from which on nats-server fires it."""
    headers = {
        "Nats-Schedule": schedule.expression(),
        "Nats-Schedule-Target": store.subjects.fires(schedule.handler, schedule.name),
        "Nats-Schedule-Rollup": "sub",
    }
    if schedule.cron:
        headers["Nats-Schedule-Time-Zone"] = schedule.time_zone
    command = Command(schedule.name, schedule.handler, kind=CommandKind.FIRE, schedule=schedule.name)
    return Request(store.subjects.recurrence(schedule.name), encode_command(command), headers)


def disarming(store: Store, schedule: Schedule) -> list[Request]:
    """The writes after which it fires no more, and what it has fired is forgotten."""
    stream = store.subjects.commands_stream
    return [
        purge_request(store, stream, store.subjects.recurrence(schedule.name)),
        purge_request(store, stream, store.subjects.fires(schedule.handler, schedule.name)),
    ]


def removal(store: Store, name: str) -> Request:
    return purge_request(store, store.subjects.state_stream, store.subjects.schedule(name))
