"""Reads as of a stream sequence, whichever replica answers, and the server's clock, which processors go by.

In a cluster a replica that lags behind may answer a direct get; without one, a read is always of now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from durablectl.errors import ConnectionFailedError, DurableError, NotProvisionedError
from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.storage.records.states import decode_stored_state, load, load_many
from durablectl.storage.streams.direct_get import get_many_last
from durablectl.storage.streams.stored_messages import parse_timestamp_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState
    from durablectl.storage.streams.direct_get import LastMessages

_log = logging.getLogger(__name__)

_LAGGING_PAUSE_SECONDS = 0.02
_LAGGING_TRIES = 500
_ABSENT_TRIES = 10
_LOGGED_FROM_US = 1 * MICROSECONDS


async def sync_clock(store: Store) -> int:
    """Set the clock of ``store`` by the server; the last sequence of the states, by the leader of their stream."""
    asked = store.clock.now()
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    wrong = store.clock.agree(parse_timestamp_us(info["ts"]), asked, store.clock.now())
    if abs(wrong) > _LOGGED_FROM_US:
        _log.warning(
            "The clock of this machine was %.1f s %s that of the NATS server, whose time counts from now on.",
            abs(wrong) / MICROSECONDS,
            "behind" if wrong > 0 else "ahead of",
        )
    return int(info["state"]["last_seq"])


async def hear_server_time(store: Store) -> int:
    """The time now by the server's clock, in microseconds: this machine's where they agree, or none is heard."""
    with contextlib.suppress(DurableError):  # what is asked next fails with a sentence of its own
        try:
            await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
        except NotProvisionedError:
            await store.requests.ask_time()
    return SYSTEM_CLOCK.now()


async def last_sequence(store: Store) -> int:
    """The sequence of the last record of a state or step; that of the server's time, too, is heard."""
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    return int(info["state"]["last_seq"])


async def get_many_at(
    store: Store,
    subjects: Sequence[str],
    at_least: int,
    *,
    with_each: str | None = None,
    absent_tries: int = _LAGGING_TRIES,
) -> LastMessages | None:
    """As ``get_many_last`` of the states and journals, but as of stream sequence ``at_least`` or later.

    A replica that lags behind that is asked again. Who finds nothing does not say how far he has come: after
    ``absent_tries`` that is the answer. Raises ConnectionFailedError.
    """
    stream = store.subjects.state_stream
    for tried in range(_LAGGING_TRIES):
        answer = await get_many_last(store, stream, subjects, with_each)
        if answer is None or answer.up_to_sequence >= at_least:
            return answer
        if not answer.up_to_sequence and tried >= absent_tries:
            return answer
        await asyncio.sleep(_LAGGING_PAUSE_SECONDS)
    raise ConnectionFailedError(f"No replica of {stream} has caught up to sequence {at_least}.")


async def load_at(store: Store, invocation_id: str, at_least: int) -> StoredState | None:
    """As of stream sequence ``at_least`` or later, whichever replica answers."""
    subject = store.subjects.state(invocation_id)
    # Handlers are asked for too: who finds nothing at all does not say how far he has come.
    answer = await get_many_at(store, [subject, store.subjects.handler("*")], at_least, absent_tries=_ABSENT_TRIES)
    answer = answer or await get_many_at(store, [subject], at_least, absent_tries=_ABSENT_TRIES)
    found = next((raw for raw in (answer.messages if answer else ()) if raw.subject == subject), None)
    return None if found is None else decode_stored_state(found, invocation_id)


async def load_after_write(store: Store, invocation_id: str, revision: int = 0) -> StoredState | None:
    """As of ``revision`` or later; without it, as of the last state that this connection has written."""
    if not store.requests.is_cluster:
        return await load(store, invocation_id)
    return await load_at(store, invocation_id, revision or store.reached_sequence)


async def load_confirmed(store: Store, invocation_id: str) -> StoredState | None:
    """None only if no replica has it: one that is filled anew, after it was cut off, finds nothing at first."""
    stored = await load(store, invocation_id)
    if stored is not None or not store.requests.is_cluster:
        return stored
    return await load_at(store, invocation_id, await sync_clock(store))


async def load_many_confirmed(
    store: Store, invocation_ids: Sequence[str], existing_id: str, revision: int = 0
) -> dict[str, StoredState]:
    """As of ``revision`` or later; without it, as of now. ``existing_id`` names a workflow that exists."""
    if not (invocation_ids and store.requests.is_cluster):
        return await load_many(store, invocation_ids)
    at_least = revision or await sync_clock(store)

    async def ask(subjects: list[str]) -> LastMessages | None:
        return await get_many_at(store, subjects, at_least, with_each=store.subjects.state(existing_id))

    found = await load_many(store, invocation_ids, ask)
    return {each: found[each] for each in invocation_ids if each in found}


async def is_stale(store: Store, invocation_id: str, stored: StoredState | None) -> bool:
    """Whether what was read of an invocation is not what stands there now."""
    if not store.requests.is_cluster:
        return False
    latest = await load_at(store, invocation_id, await sync_clock(store))
    return (latest and latest.revision) != (stored and stored.revision)
