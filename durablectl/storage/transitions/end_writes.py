"""The writes that follow the last state of a workflow; each may be repeated without harm."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.errors import PayloadTooLargeError, UnreadableError
from durablectl.model.codec import encode_entry
from durablectl.model.operation_kinds import WAITS
from durablectl.model.status import Status
from durablectl.model.termination import INLINE_LIMIT_BYTES
from durablectl.storage.commands.wake import (
    START_TIMER,
    cancel_command_request,
    timer_removal_request,
    wake_parent_request,
    wake_timer_name,
)
from durablectl.storage.index import index_entries
from durablectl.storage.records import journal, states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.model.termination import Child
    from durablectl.storage.connection.requests import Request
    from durablectl.storage.connection.store import Store


_log = logging.getLogger(__name__)


async def inline_journal(store: Store, execution: Execution, revision: int) -> list[JournalEntry]:
    """The journal of what has ended, as of ``revision``; part of its record from now on, unless it is too big for that.

    ``execution`` says afterwards which it is. One that cannot be read is left where it is.
    """
    try:
        entries = await journal.load_journal(store, execution, revision)
    except UnreadableError as error:
        _log.warning("Left as it is: %s", error)
        return execution.journal
    encoded = [encode_entry(entry) for entry in entries]
    if sum(map(len, encoded)) <= INLINE_LIMIT_BYTES:
        inline_entries = replace(execution, journal_length=0, total_steps=max(execution.total_steps, len(entries)))
        with contextlib.suppress(PayloadTooLargeError):
            if await states.replace(store, inline_entries, revision, encoded) is not None:
                execution.journal_length = 0
    return entries


async def clean_up_end(
    store: Store,
    execution: Execution,
    revision: int,
    entries: Sequence[JournalEntry],
    children: Sequence[Child] = (),
    *,
    unstored: int = -1,
) -> None:
    """Purge journal and timers, tell the parent, have ``children`` cancelled, and move the index entry.

    That comes last: by the old entry others find it, should this process die before all is done.

    The timer that an operator's command sets is left: it has a processor look whether all this was done.
    Nothing of a retry that comes in between is purged: ``revision`` is that of the end. The entry numbered ``unstored``
    has never been in the stream.
    """
    writes: list[Request] = []
    if not execution.journal_length:
        length = max((entry.step_number + 1 for entry in entries), default=0)
        length = max(length, execution.total_steps)
        writes += journal.purge_requests(store, execution.invocation_id, length, revision, unstored)
    elif execution.expires_at:
        writes += journal.expiry_requests(store, execution, revision, entries)
    writes += [timer_removal_request(store, execution.invocation_id, name) for name in _timer_names(execution, entries)]
    if execution.parent_handler:
        writes.append(wake_parent_request(store, execution))
    reason = f"its parent {'was cancelled' if execution.status == Status.CANCELLED else execution.status}"
    writes += [cancel_command_request(store, child.invocation_id, child.handler, reason) for child in children]
    if execution.status == Status.COMPLETED:
        # Nothing follows but its deletion: no need to look again.
        await store.requests.exchange([*writes, *index_entries.update_requests(store, execution)])
    else:
        await index_entries.update_entry(store, execution, before=writes)


def _timer_names(execution: Execution, entries: Sequence[JournalEntry]) -> set[str]:
    """The names of those that may be there."""
    names = {START_TIMER} if execution.start_at else set[str]()
    if execution.timer_attempt:
        names.add(wake_timer_name(execution.timer_attempt))
    if any(entry.kind in WAITS for entry in entries):
        names.add(wake_timer_name(execution.attempt))
    return names
