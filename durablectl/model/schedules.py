"""Recurring starts: what a schedule is, and when it fires next."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from durablectl.errors import UnreadableError, UsageError
from durablectl.model.clock import MICROSECONDS, to_datetime
from durablectl.model.names import validate_name
from durablectl.model.validation import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterable

SKIP, ALLOW = "skip", "allow"
OVERLAPS = (SKIP, ALLOW)
_CRON_FIELDS = 5
_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec sun mon tue wed thu fri sat"
CATCH_UP_MICROSECONDS = 60 * MICROSECONDS
"""A fire that is taken up this much later than it was due is a catch-up."""


@dataclass
class Schedule:
    """A recurring start. Either ``cron`` (five fields, in ``time_zone``) or ``every`` (seconds) is set.

    ``fired``, ``skipped`` and ``caught_up`` count; times are microseconds since the epoch.
    """

    name: str
    handler: str
    input: Any = None
    partition_key: str = ""
    cron: str = ""
    every: int = 0
    time_zone: str = "UTC"
    overlap: str = SKIP
    paused: bool = False
    created_at: int = 0
    last_fired_at: int = 0
    last_invocation_id: str = ""
    fired: int = 0
    skipped: int = 0
    caught_up: int = 0

    def expression(self) -> str:
        """As nats-server takes it: its cron has seconds in front, and Sunday is 0 only."""
        if self.every:
            return f"@every {self.every}s"
        *others, weekdays = self.cron.split()
        if "7" in weekdays and not weekdays.startswith("*"):
            weekdays = ",".join(
                str(day) for day in sorted({day % 7 for day in _parsed(self.cron, datetime.now(UTC)).weekdays})
            )
        return " ".join(["0", *others, weekdays])

    def next_after(self, timestamp_us: int) -> int:
        """When it fires next after ``timestamp_us``; 0 while it is paused, or never."""
        if self.paused:
            return 0
        if self.every:
            step = self.every * MICROSECONDS
            base = self.last_fired_at or self.created_at
            return base + step * max(1, -(-(timestamp_us - base) // step))
        return _next_of_cron(self.cron, self.time_zone, to_datetime(timestamp_us))

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes, name: str) -> Schedule:
        try:
            schedule = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableError(f"The schedule {name} cannot be read: {error}.") from error
        for field in fields(cls):
            value = getattr(schedule, field.name)
            if field.name != "input" and type(value) is not type(getattr(_DEFAULT, field.name)):
                raise UnreadableError(f"The schedule {name} cannot be read: its {field.name} is {value!r:.50}.")
        _check(schedule, name)
        return schedule


_DEFAULT = Schedule("", "")


def _check(schedule: Schedule, name: str) -> None:
    """UnreadableError for what the commands that make schedules would not have let in."""
    try:
        for what in ("name", "handler", "partition_key", "last_invocation_id"):
            value = getattr(schedule, what)
            if value or what in {"name", "handler"}:
                validate_name(what.replace("_", " "), value)
        if schedule.cron:
            check_cron(schedule.cron, schedule.time_zone)
    except UsageError as error:
        raise UnreadableError(f"The schedule {name} cannot be used: {error.message}") from error
    if schedule.name != name:
        raise UnreadableError(f"The schedule {name} cannot be used: it is the record of {schedule.name}.")
    if bool(schedule.cron) == bool(schedule.every) or not 0 <= schedule.every <= LATEST // MICROSECONDS:
        raise UnreadableError(f"The schedule {name} cannot be used: it says no time, or two.")
    if not all(0 <= timestamp_us < LATEST for timestamp_us in (schedule.created_at, schedule.last_fired_at)):
        raise UnreadableError(f"The schedule {name} cannot be used: a time in it is none.")


def _parsed(cron: str, after: datetime) -> Any:
    from cronsim import CronSim

    return CronSim(cron, after)


def _next_of_cron(cron: str, time_zone: str, after: datetime) -> int:
    moments: Iterable[datetime] = _parsed(cron, after.astimezone(ZoneInfo(time_zone)))
    following = next(iter(moments), None)
    return 0 if following is None else int(following.timestamp() * MICROSECONDS)


def check_cron(cron: str, time_zone: str) -> None:
    """UsageError that says what is wrong with a cron expression or time zone."""
    from cronsim import CronSimError

    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"There is no time zone {time_zone!r}.", hint="Use a name such as Europe/Berlin.") from error
    if len(cron.split()) != _CRON_FIELDS:
        raise UsageError(
            f"The cron expression {cron!r} has {len(cron.split())} of five fields.",
            hint="They are minute, hour, day of month, month, day of week. Quote them in a shell.",
        )
    # The library that tells when it fires next knows more than nats-server, which does the firing.
    for word in re.findall(r"[^0-9*,/\s-]+", cron):
        if word.lower() not in _NAMES.split():
            raise UsageError(
                f"The cron expression {cron!r} is wrong: {word!r} is unknown to nats-server.",
                hint="Use numbers, *, lists, ranges, steps, and the English names of months and days like jan and mon.",
            )
    try:
        following = _next_of_cron(cron, time_zone, datetime.now(ZoneInfo(time_zone)))
    except CronSimError as error:
        raise UsageError(f"The cron expression {cron!r} is wrong: {error}.") from error
    if not following:
        raise UsageError(f"The cron expression {cron!r} never fires.")
