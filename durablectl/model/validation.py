"""Whether what was read can be acted on: its names go into subjects, and its times into timers.

What cannot is shown all the same. Each check raises UnreadableError.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from durablectl.errors import InvalidNameError, UnreadableError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.names import is_name, validate_invocation_id, validate_name
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.model.records import Command, Execution

_log = logging.getLogger(__name__)

LATEST = 253_402_300_800 * MICROSECONDS
"""The end of the year 9999, the last that RFC 3339 can write."""
_MOST = 2**31 - 2
_STATUSES = frozenset(Status)


def _each(*names: str) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    return names, attrgetter(*names)


_PARENT = ("parent_id", "parent_handler", "parent_partition_key")
_COMMAND_NAMES = _each("partition_key", "schedule", *_PARENT)
_COMMAND_TIMES = _each("created_at", "start_at")
_STATE_NAMES = _each("handler", "partition_key", "owner", *_PARENT)
_STATE_TIMES = _each("created_at", "started_at", "updated_at", "indexed_at", "start_at", "deadline", "expires_at")
_COUNTS = _each("attempt", "timer_attempt", "total_steps", "journal_length", "signals_sent", "crashes", "compensations")


def check_command(command: Command) -> None:
    """Raises InvalidNameError too."""
    validate_invocation_id(command.invocation_id)
    validate_name("handler", command.handler)
    _check(command, "A command", _COMMAND_NAMES, _COMMAND_TIMES)


def check_execution(execution: Execution) -> None:
    what = f"The state of {execution.invocation_id}"
    if execution.status not in _STATUSES:
        raise UnreadableError(
            f"{what} cannot be used: its status is {execution.status!r}, which this version does not know.",
            hint="A newer version of durablectl, or another program, wrote it.",
        )
    _check(execution, what, _STATE_NAMES, _STATE_TIMES)
    for name, number in zip(_COUNTS[0], _COUNTS[1](execution), strict=True):
        if not 0 <= number <= _MOST:
            raise _unusable(what, name, number)
    for left in execution.superseded_entries:
        _check_time(what, "left_behind", left.at)
        if not is_name(left.status):
            raise _unusable(what, "left_behind", left.status)
        if left.waits and not all(map(is_name, left.waits.split("+"))):
            raise _unusable(what, "left_behind", left.waits)
    for waiting in execution.waits:
        _check_time(what, "waits", waiting.until)


def is_valid(execution: Execution) -> bool:
    """Where one that is not must not keep others from what is done to all."""
    try:
        check_execution(execution)
    except UnreadableError as error:
        _log.warning("Left out: %s", error)
        return False
    return True


def _check(record: object, what: str, names: Any, times: Any) -> None:
    for name, value in zip(names[0], names[1](record), strict=True):
        if value and not is_name(value):
            try:
                validate_name(name.replace("_", " "), value)
            except InvalidNameError as error:
                raise UnreadableError(f"{what} cannot be used: {error.message}", hint=error.hint) from error
    for name, timestamp_us in zip(times[0], times[1](record), strict=True):
        _check_time(what, name, timestamp_us)


def _check_time(what: str, name: str, timestamp_us: int) -> None:
    if not 0 <= timestamp_us < LATEST:
        raise _unusable(what, name, timestamp_us)


def _unusable(what: str, name: str, value: object) -> UnreadableError:
    return UnreadableError(f"{what} cannot be used: its {name} is {value!r}.", hint="Something else wrote it.")
