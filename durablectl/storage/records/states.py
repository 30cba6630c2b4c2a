"""State records: read, create, and replace by compare-and-set. There is no blind put."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import ConnectionFailedError, NotProvisionedError, PermissionDeniedError, StorageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.codec import decode_execution, encode_entry, encode_execution
from durablectl.model.names import is_name
from durablectl.model.status import is_terminal
from durablectl.storage.connection.rejections import (
    NoAnswerError,
    NoDirectAccessError,
    StorageFullError,
    WrongSequenceError,
)
from durablectl.storage.connection.requests import EXPECTED, TTL
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.direct_get import LastMessages, get_last, get_last_or_deletion, get_many_last
from durablectl.storage.streams.stored_messages import (
    DELETION_HEADER,
    StoredMessage,
    parse_timestamp_us,
    stored_message,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_DELETED_START = "Durable-Start-Token"

_UNCERTAIN_SECONDS = 20.0
_UNCERTAIN_PAUSE_SECONDS = 0.5
_NO_TTL: Mapping[str, str] = MappingProxyType({})


UNREACHABLE = (ConnectionFailedError, NotProvisionedError, NoDirectAccessError)
"""How a restart of the server looks, or a stream that is gone or misconfigured: it does not answer for a while."""


class StoredState(NamedTuple):
    """A state record and the stream sequence at which it stands: its revision."""

    execution: Execution
    revision: int


def decode_stored_state(raw: StoredMessage, invocation_id: str) -> StoredState:
    """A record of another implementation, which says no time, counts as indexed when it was made, or stored."""
    execution = decode_execution(raw.data, invocation_id)
    if not execution.indexed_at:
        execution.indexed_at = execution.created_at or parse_timestamp_us(raw.stored_at)
    return StoredState(execution, raw.sequence)


async def load(store: Store, invocation_id: str) -> StoredState | None:
    raw = await get_last(store, store.subjects.state_stream, store.subjects.state(invocation_id))
    return None if raw is None else decode_stored_state(raw, invocation_id)


async def load_or_tombstone(store: Store, invocation_id: str) -> tuple[StoredState | None, str]:
    """The record, or the start token of the one that was deleted; that is empty when there was none."""
    reply = await get_last_or_deletion(store, store.subjects.state_stream, store.subjects.state(invocation_id))
    headers = {} if reply is None else reply.headers or {}
    if reply is None or DELETION_HEADER in headers:
        return None, headers.get(_DELETED_START, "")
    return decode_stored_state(stored_message(reply), invocation_id), ""


async def create(store: Store, execution: Execution) -> int | None:
    """Write the first state of an invocation; its revision, or None when a state exists already."""
    data = encode_execution(execution)
    return await _compare_and_set(store, execution.invocation_id, data, 0)


async def replace(
    store: Store, execution: Execution, revision: int, inline_entries: Sequence[bytes] | None = None
) -> int | None:
    """Write over the state that stands at ``revision``; the new revision, or None when another writer was first.

    ``inline_entries`` are the encoded journal entries that the record is to hold; by default those that it held when
    it was read.
    """
    if inline_entries is None:
        inline_entries = [encode_entry(entry) for entry in execution.journal]
    data = encode_execution(execution, inline_entries)
    return await _compare_and_set(store, execution.invocation_id, data, revision, ttl_header(store, execution))


def ttl_header(store: Store, execution: Execution) -> dict[str, str]:
    """The header by which the server removes what has ended when its retention is over; none without retention."""
    if not (execution.expires_at and is_terminal(execution.status)):
        return {}
    seconds = -(-(execution.expires_at - store.clock.now()) // MICROSECONDS)
    return {TTL: f"{max(1, seconds)}s"}


async def delete(store: Store, execution: Execution, revision: int) -> bool:
    """Delete the state that stands at ``revision``, as KV does: a marker, which goes away by itself later.

    The marker names the start, so that a start command that is still there brings nothing back to life. That may lie
    there for long only where no processor has ever taken it. What is left of a journal may, too.
    """
    headers = {
        DELETION_HEADER: "PURGE",
        "Nats-Rollup": "sub",
        TTL: "1h" if execution.attempt and not execution.journal_length else "8760h",
        EXPECTED: str(revision),
    }
    if execution.start_token:
        headers[_DELETED_START] = execution.start_token
    try:
        await store.requests.publish(store.subjects.state(execution.invocation_id), b"", headers)
    except WrongSequenceError:
        return False
    except StorageFullError:
        return await _purge(store, execution.invocation_id, revision, headers)
    return True


async def _purge(store: Store, invocation_id: str, revision: int, headers: dict[str, str]) -> bool:
    """Delete the state without a marker, for which there is no room; False when another writer was first.

    A purge removes nothing that was written after ``revision``. The marker is stored after it if it fits then: without
    it, a start command that no processor has taken could start the workflow again.
    """
    subject = store.subjects.state(invocation_id)
    (answer,) = await store.requests.exchange(
        [purge_request(store, store.subjects.state_stream, subject, revision + 1)]
    )
    if not answer.get("purged"):
        return False
    with contextlib.suppress(StorageFullError, WrongSequenceError):
        await store.requests.publish(subject, b"", {**headers, EXPECTED: "0"})
    return True


async def _compare_and_set(
    store: Store, invocation_id: str, data: bytes, revision: int, ttl: Mapping[str, str] = _NO_TTL
) -> int | None:
    sequence = await _write(store, invocation_id, data, revision, ttl)
    store.reached_sequence = max(store.reached_sequence, sequence or 0)
    return sequence


async def _write(store: Store, invocation_id: str, data: bytes, revision: int, ttl: Mapping[str, str]) -> int | None:
    subject = store.subjects.state(invocation_id)
    headers = {EXPECTED: str(revision), **ttl}
    try:
        return (await store.requests.publish(subject, data, headers)).sequence
    except WrongSequenceError:
        return await _after_deletion(store, subject, data) if revision == 0 else None
    except PermissionDeniedError:
        raise
    except UNREACHABLE:
        return await _resolve_unanswered(store, subject, data, headers)


async def _after_deletion(store: Store, subject: str, data: bytes) -> int | None:
    """A key that was deleted leaves a marker, over which a first state may be written.

    Who deleted it may have died before its journal was gone: what is left of that goes first.
    """
    reply = await get_last_or_deletion(store, store.subjects.state_stream, subject)
    headers = {} if reply is None else reply.headers or {}
    if DELETION_HEADER not in headers:
        return None
    marked = headers["Nats-Sequence"]
    entries = store.subjects.journal(store.subjects.state_key(subject), "*")
    await store.requests.exchange([purge_request(store, store.subjects.state_stream, entries, int(marked))])
    try:
        return (await store.requests.publish(subject, data, {EXPECTED: marked})).sequence
    except WrongSequenceError:
        return None


async def _resolve_unanswered(store: Store, subject: str, data: bytes, headers: dict[str, str]) -> int | None:
    """The acknowledgement did not come: find out whether the write was stored, and write again if it was not.

    A write that lingers in a buffer may still arrive later; the compare-and-set rejects it then.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _UNCERTAIN_SECONDS
    while loop.time() < deadline:
        await asyncio.sleep(_UNCERTAIN_PAUSE_SECONDS)
        try:
            raw = await get_last(store, store.subjects.state_stream, subject)
            if raw is not None and raw.data == data:
                return raw.sequence
            if str(raw.sequence if raw is not None else 0) != headers[EXPECTED]:
                return None
            return (await store.requests.publish(subject, data, headers)).sequence
        except (WrongSequenceError, *UNREACHABLE):
            continue
    raise NoAnswerError(
        f"A write to {subject} was neither confirmed nor refused; the NATS server stays silent.",
        hint="Look into its log: once its disk was full, it stores nothing more in a stream until it is restarted.",
    )


async def load_many(
    store: Store,
    invocation_ids: Sequence[str],
    ask: Callable[[list[str]], Awaitable[LastMessages | None]] | None = None,
) -> dict[str, StoredState]:
    """The states of these ids that exist, fetched together; one that cannot be read is logged and left out.

    What a record or message of somebody else's names may be no id, but a wildcard that matches all: it has no state.
    """
    invocation_ids = [each for each in invocation_ids if is_name(each)]
    found: dict[str, StoredState] = {}
    for start in range(0, len(invocation_ids), 1000):
        subjects = [store.subjects.state(invocation_id) for invocation_id in invocation_ids[start : start + 1000]]
        answer = await (ask(subjects) if ask else get_many_last(store, store.subjects.state_stream, subjects))
        for raw in answer.messages if answer is not None else []:
            invocation_id = store.subjects.state_key(raw.subject)
            try:
                found[invocation_id] = decode_stored_state(raw, invocation_id)
            except StorageError as error:
                _log.warning("Left out: %s", error)
    return found
