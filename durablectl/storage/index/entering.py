"""Entering what has no index entry. Late, an entry would stand beside the one that its workflow has got meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from durablectl.storage.connection.store import purge_request
from durablectl.storage.index import index_entries
from durablectl.storage.index.comparison import BATCH_SIZE, DisagreementKind, compare, parse_state, read_states
from durablectl.storage.streams.direct_get import get_last, messages
from durablectl.storage.streams.feed import read_snapshot
from durablectl.storage.streams.index_marker import IndexMarker, parse_marker
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.requests import Request
    from durablectl.storage.connection.store import Store
    from durablectl.storage.index.comparison import Disagreement

_FEW = 10_000
"""So many messages are read without a consumer."""


class Entered(NamedTuple):
    """How many workflows were entered, and how many of those another program has written.

    ``waits_named`` are entries of an earlier version that now name what their workflows wait for.
    """

    workflows: int
    foreign: int
    waits_named: int


async def enter(store: Store, absent: Sequence[Disagreement]) -> Entered:
    """Enter these, at most BATCH_SIZE; what has changed its status meanwhile is taken back."""
    for execution in (each.execution for each in absent):
        if execution is not None:
            await index_entries.add_waits(store, execution.handler, execution.index_waits)
    writes = [index_entries.addition(store, each.execution)[0] for each in absent if each.execution is not None]
    answers = await store.requests.exchange(writes)
    states = await read_states(store, [each.invocation_id for each in absent])
    late, workflows, foreign, waits_named = [], 0, 0, 0
    for each, answer in zip(absent, answers, strict=True):
        if not answer:  # Another was faster.
            continue
        seen = states.get(each.invocation_id)
        if seen is None or not seen.agrees(store.subjects, each.subject):
            late.append(removal(store, each.subject, int(answer["seq"])))
        elif each.kind == DisagreementKind.UNNAMED_WAITS:
            waits_named += 1
        else:
            workflows += 1
            foreign += each.kind == DisagreementKind.FOREIGN
    if late:
        await store.requests.exchange(late)
    return Entered(workflows, foreign, waits_named)


def removal(store: Store, subject: str, sequence: int) -> Request:
    """The write that removes the entry stored at this sequence, and not one that was made since."""
    return purge_request(store, store.subjects.index_stream, subject, sequence + 1)


async def load_marker(store: Store) -> tuple[IndexMarker, int]:
    """What says whether the index is complete, and its revision; a marker that says nothing where there is none."""
    raw = await get_last(store, store.subjects.state_stream, store.subjects.index_marker)
    return (IndexMarker(), 0) if raw is None else (parse_marker(raw.data), raw.sequence)


async def enter_all(store: Store) -> int:
    """Enter every workflow that has no entry, after the index was lost; how many there were.

    Of more than _FEW messages by a consumer, for which PermissionDeniedError may be raised.
    """
    stream, everything = store.subjects.state_stream, store.subjects.all_states
    info = await stream_info(store, stream)
    is_small = info is not None and int(info["state"]["messages"]) <= _FEW
    stored = messages(store, stream, everything) if is_small else read_snapshot(store, stream, [everything])
    entered = 0
    batch: list[str] = []
    async for change in stored:
        key = store.subjects.state_key(change.subject)
        if change.deleted or parse_state(store, key, change.data, change.timestamp_us) is None:
            continue
        batch.append(key)
        if len(batch) == BATCH_SIZE:
            entered += await _enter_batch(store, batch)
            batch = []
    return entered + await _enter_batch(store, batch)


async def _enter_batch(store: Store, invocation_ids: Sequence[str]) -> int:
    found = await compare(store, dict.fromkeys(invocation_ids, ())) if invocation_ids else []
    absent = [each for each in found if each.is_absence]
    return (await enter(store, absent)).workflows if absent else 0
