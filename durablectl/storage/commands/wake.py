"""Commands that wake an invocation, now or by a timer."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from durablectl.errors import NotProvisionedError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.codec import encode_command
from durablectl.model.kinds import CommandKind
from durablectl.model.records import Command
from durablectl.storage.commands.command_queue import publication
from durablectl.storage.connection.requests import Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import count, subjects_matching
from durablectl.storage.subjects import RECURRENCE

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

FALLBACK_MICROSECONDS = 2 * MICROSECONDS
START_TIMER = "start"


def wake_command(execution: Execution) -> Command:
    return Command(
        execution.invocation_id,
        execution.handler,
        kind=CommandKind.WAKE,
        partition_key=execution.partition_key,
    )


def wake_request(store: Store, execution: Execution, message_id: str = "") -> Request:
    """The command that lets a processor look at the invocation; a needless one does nothing."""
    return publication(store, wake_command(execution), message_id)


def wake_parent_request(store: Store, execution: Execution) -> Request:
    """Tell the parent that its child has ended."""
    handler, partition_key = execution.parent_handler, execution.parent_partition_key
    return publication(store, Command(execution.parent_id, handler, kind=CommandKind.WAKE, partition_key=partition_key))


def cancel_command_request(store: Store, invocation_id: str, handler: str, reason: str) -> Request:
    """The command by which a parent cancels a child; it waits for a processor that has the handler."""
    return publication(store, Command(invocation_id, handler, kind=CommandKind.CANCEL, reason=reason))


def wake_timer_name(attempt: int) -> str:
    """The name of the timer that an attempt sets. Each has its own: one that was fenced out touches no other's."""
    return f"wake-{attempt}"


def wake_timer_request(store: Store, execution: Execution, timestamp_us: int, name: str) -> Request:
    """A wake command that the server publishes at ``timestamp_us``; it replaces the timer of that name."""
    return scheduled_command_request(store, wake_command(execution), timestamp_us, name)


def scheduled_command_request(store: Store, command: Command, timestamp_us: int, name: str) -> Request:
    """A command that the server publishes at ``timestamp_us``, whether or not any processor is there."""
    at = datetime.fromtimestamp(timestamp_us / MICROSECONDS, UTC).isoformat(timespec="milliseconds")
    headers = {
        "Nats-Schedule": f"@at {at.replace('+00:00', 'Z')}",
        "Nats-Schedule-Target": store.subjects.command(command.handler, command.partition_key),
    }
    return Request(store.subjects.timer(command.invocation_id, name), encode_command(command), headers)


async def count_timers(store: Store) -> int:
    """Those of invocations; the recurrences of schedules lie beside them."""
    stream, subjects = store.subjects.commands_stream, store.subjects
    return await count(store, stream, subjects.timer("*", "*")) - await count(store, stream, subjects.recurrence("*"))


async def ids_of_delayed_starts(store: Store) -> list[str]:
    """The ids of workflows that begin later, as their timers say."""
    subjects = store.subjects
    found: list[str] = []
    with contextlib.suppress(NotProvisionedError):
        found = await subjects_matching(store, subjects.commands_stream, [subjects.timer("*", START_TIMER)])
    owners = map(subjects.timer_owner, found)
    return [owner for owner in owners if owner != RECURRENCE]


def timer_removal_request(store: Store, invocation_id: str, name: str) -> Request:
    return purge_request(store, store.subjects.commands_stream, store.subjects.timer(invocation_id, name))


def fallback_timer_request(store: Store, execution: Execution) -> Request:
    """A wake in two seconds, should this process die after its next write."""
    name = f"steer-{execution.attempt + len(execution.history)}"
    return wake_timer_request(store, execution, store.clock.now() + FALLBACK_MICROSECONDS, name)
