"""Trouble: what `status` and `doctor` report, one group per cause, each with how bad it is and what to do."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import MICROSECONDS, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RECENT_MICROSECONDS = 5 * 60 * MICROSECONDS
"""What joined a group in this time tells whether it grows."""
SHOWN = 3
"""Ids that a group names."""


class Urgency(StrEnum):
    """How bad it is; all but NOTICE needs a person."""

    ERROR = "error"
    """It cannot continue by itself."""
    WARNING = "warning"
    """It may not continue by itself, or not soon."""
    NOTICE = "notice"
    """Somebody wanted it so, or it is young."""


_ORDER = {Urgency.ERROR: 0, Urgency.WARNING: 1, Urgency.NOTICE: 2}


class Trouble(StrEnum):
    """Why a group is in trouble; a word for scripts. A later version may have others."""

    # Of workflows.
    RETRYING = "retrying"
    PAUSED_BY_ENGINE = "paused_by_engine"
    PAUSED_BY_OPERATOR = "paused_by_operator"
    FAILED = "failed"
    WAITING_FOR_PERSON = "waiting_for_person"
    NO_PROCESSOR = "no_processor"
    NO_ROOM = "no_room"
    HUNG = "hung"
    UNATTENDED = "unattended"
    """Running by their records, and at work nowhere."""
    PROCESSOR_GONE = "processor_gone"
    """Left by a processor that died, and not taken over."""
    NOT_CALLED = "not_called"
    """Due, with a processor that has room, and still not begun: the command or timer is lost."""

    # Of processors.
    PROCESSOR_LOST = "processor_lost"
    PROCESSOR_FLAPPING = "processor_flapping"
    LOOP_BLOCKED = "loop_blocked"
    VERSION_SKEW = "version_skew"
    CLOCK_OFF = "clock_off"

    # Of streams, schedules and commands.
    STORE_FULL = "store_full"
    STREAM_LOST = "stream_lost"
    RECORDS_LOST = "records_lost"
    """The index lists workflows that have no record."""
    STREAM_WRONG = "stream_wrong"
    REPLICA_LATE = "replica_late"
    SCHEDULE_DEAD = "schedule_dead"
    SCHEDULE_LATE = "schedule_late"
    COMMANDS_UNREADABLE = "commands_unreadable"
    COMMANDS_STRAY = "commands_stray"
    """Stored for handlers that no live processor has, and of no workflow that is shown as waiting for one."""


class Remedy(NamedTuple):
    """A command line that can be pasted, but for words in capitals, and what it is for."""

    words: tuple[str, ...]
    purpose: str

    def command(self, connection: Sequence[str] = ()) -> str:
        """With the flags of the connection behind it."""
        return shlex.join([*self.words, *(connection if self.words[0] == "durablectl" else ())])

    def to_json(self, connection: Sequence[str] = ()) -> dict[str, str]:
        return {"command": self.command(connection), "purpose": self.purpose}


def durablectl(*words: str, purpose: str) -> Remedy:
    return Remedy(("durablectl", *words), purpose)


@dataclass(frozen=True)
class Group:
    """What is in trouble for one reason.

    ``summary`` says how many and why, without times. ``since`` is when the oldest one got into it (microseconds; 0
    where that is not known), ``recent`` how many did in the last RECENT_MICROSECONDS. ``is_estimate`` tells that
    ``count`` is extrapolated from a sample. ``details`` are more fields of its JSON; those named ``*_at`` are moments.
    """

    trouble: Trouble
    urgency: Urgency
    summary: str
    count: int = 1
    since: int = 0
    recent: int = 0
    examples: Sequence[str] = ()
    remedies: Sequence[Remedy] = ()
    is_estimate: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_person(self) -> bool:
        return self.urgency != Urgency.NOTICE

    def to_json(self, connection: Sequence[str] = ()) -> dict[str, Any]:
        return {
            "code": self.trouble,
            "severity": self.urgency,
            "summary": self.summary,
            "count": self.count,
            "is_estimate": self.is_estimate,
            "since": to_rfc3339(self.since),
            "recent": self.recent,
            "is_growing": bool(self.recent),
            "examples": list(self.examples),
            "commands": [remedy.to_json(connection) for remedy in self.remedies],
            "details": {
                name: to_rfc3339(value) if name.endswith("_at") else value for name, value in self.details.items()
            },
        }


def worst_first(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (_ORDER[group.urgency], -group.count, group.trouble, group.summary))


def counted(number: int, noun: str, several: str = "") -> str:
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"
