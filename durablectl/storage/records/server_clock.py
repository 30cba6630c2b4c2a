"""How the server stands: its time, which is the one that processors go by, and how far its store has come."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from durablectl.errors import ConnectionFailedError
from durablectl.model.clock import MICROSECONDS
from durablectl.storage.records.states import get_many_last, moment_of, stored_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import ManyLast, Stored

_log = logging.getLogger(__name__)

_LAGGING_PAUSE_SECONDS = 0.02
_LAGGING_TRIES = 500
_ABSENT_TRIES = 10
_WORTH_A_WORD = 1 * MICROSECONDS


async def keep_time(store: Store) -> int:
    """Set the clock of ``store`` by the server; the last sequence of the states, by the leader of their stream."""
    asked = store.clock.now()
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
    wrong = store.clock.agree(moment_of(info["ts"]), asked, store.clock.now())
    if abs(wrong) > _WORTH_A_WORD:
        _log.warning(
            "The clock of this machine was %.1f s %s that of the NATS server, whose time counts from now on.",
            abs(wrong) / MICROSECONDS,
            "behind" if wrong > 0 else "ahead of",
        )
    return int(info["state"]["last_seq"])


async def get_many_at(
    store: Store,
    subjects: Sequence[str],
    at_least: int,
    *,
    with_each: str | None = None,
    absent_tries: int = _LAGGING_TRIES,
) -> ManyLast | None:
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


async def load_at(store: Store, invocation_id: str, at_least: int) -> Stored | None:
    """As of stream sequence ``at_least`` or later, whichever replica answers."""
    subject = store.subjects.state(invocation_id)
    # Handlers are asked for too: who finds nothing at all does not say how far he has come.
    answer = await get_many_at(store, [subject, store.subjects.handler("*")], at_least, absent_tries=_ABSENT_TRIES)
    answer = answer or await get_many_at(store, [subject], at_least, absent_tries=_ABSENT_TRIES)
    found = next((raw for raw in (answer.messages if answer else ()) if raw.subject == subject), None)
    return None if found is None else stored_in(found, invocation_id)
