"""State records: read, create, and replace by compare-and-set. There is no blind put."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import ConnectionFailedError, NotProvisionedError, PermissionDeniedError, StorageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.codec import decode_execution, encode_entry, encode_execution
from durablectl.model.names import is_name
from durablectl.model.status import is_terminal
from durablectl.storage.connection.rejections import NoAnswerError, WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED, LIFETIME
from durablectl.storage.connection.store import purge_request
from durablectl.storage.streams.missing_stream import why_unanswered
from durablectl.storage.streams.request_chunks import parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from nats.aio.msg import Msg

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_DELETED_START = "Durable-Start-Token"
MARKER = "KV-Operation"

_UNCERTAIN_SECONDS = 20.0
_UNCERTAIN_PAUSE_SECONDS = 0.5
_FOR_EVER: Mapping[str, str] = MappingProxyType({})


UNREACHABLE = (ConnectionFailedError, NotProvisionedError)
"""What a restart of the server, or a stream without a leader, looks like: nobody answers for it, for a while."""


class Stored(NamedTuple):
    """A state record and the stream sequence at which it stands: its revision."""

    execution: Execution
    revision: int


class Raw(NamedTuple):
    """A stored message: payload, stream sequence, subject, and when it was stored, in RFC 3339."""

    data: bytes
    sequence: int
    subject: str
    stored_at: str = ""


async def get_last(store: Store, stream: str, subject: str) -> Raw | None:
    """The last message on ``subject`` by direct get; None when there is none, or it marks a deletion."""
    reply = await _last(store, stream, subject)
    if reply is None or MARKER in (reply.headers or {}):
        return None
    return _raw(reply)


async def _last(store: Store, stream: str, subject: str) -> Msg | None:
    reply = await store.requests.send(f"{store.api}.DIRECT.GET.{stream}.{subject}", b"")
    headers = reply.headers or {}
    if "Nats-Sequence" in headers:
        store.requests.has_streams = True
        return reply
    if headers.get("Status") == "404":
        return None
    raise await why_unanswered(store, reply, stream)


class ManyLast(NamedTuple):
    """What a multi-subject direct get found, and the stream sequence that the answering server had reached."""

    messages: list[Raw]
    up_to_sequence: int


TOO_MANY = "413"
MOST_BYTES = 8 * 1024 * 1024
"""Of one answer: the server hangs up on a reader that has 64 MB waiting for it."""


async def get_many_last(
    store: Store, stream: str, subjects: Sequence[str], with_each: str | None = None
) -> ManyLast | None:
    """The last message of each subject (wildcards allowed); None when they match more than 1,024.

    What does not fit into one question is asked in several, ``with_each`` in every one of them.
    """
    found: list[ManyLast] = []
    for part in parts(subjects, store.max_payload):
        answer = await _many_last(store, stream, part if with_each is None else [with_each, *part])
        if answer is None:
            return None
        found.append(answer)
    return ManyLast([raw for each in found for raw in each.messages], min(each.up_to_sequence for each in found))


async def _many_last(store: Store, stream: str, subjects: Sequence[str]) -> ManyLast | None:
    found: dict[str, Raw] = {}
    start, up_to = 0, 0
    while True:
        question = {"multi_last": list(subjects), "max_bytes": MOST_BYTES} | ({"seq": start} if start else {})
        body = json.dumps(question)
        *messages, end = await store.requests.send_many(f"{store.api}.DIRECT.GET.{stream}", body.encode())
        headers = end.headers or {}
        status = headers.get("Status", "")
        if status == TOO_MANY:
            return None
        if status not in {"204", "404"}:
            raise await why_unanswered(store, end, stream)
        for message in messages:
            raw = _raw(message)
            found.pop(raw.subject, None)
            if MARKER not in (message.headers or {}):
                found[raw.subject] = raw
        # One answer does not hold all that is big; what came first counts for how far the server had come.
        up_to = up_to or int(headers.get("Nats-UpTo-Sequence", 0))
        if not messages or headers.get("Nats-Num-Pending", "0") == "0":
            return ManyLast(list(found.values()), up_to)
        start = int((messages[-1].headers or {})["Nats-Sequence"]) + 1


def _raw(reply: Msg) -> Raw:
    headers = reply.headers or {}
    return Raw(reply.data, int(headers["Nats-Sequence"]), headers["Nats-Subject"], headers["Nats-Time-Stamp"])


def stored_in(raw: Raw, invocation_id: str) -> Stored:
    """A record of another implementation, which says no time, counts as indexed when it was made, or stored."""
    execution = decode_execution(raw.data, invocation_id)
    if not execution.indexed_at:
        execution.indexed_at = execution.created_at or moment_of(raw.stored_at)
    return Stored(execution, raw.sequence)


def moment_of(stored_at: str) -> int:
    """Microseconds of an RFC 3339 time in UTC with up to nine decimals; cut, as the server cuts it elsewhere."""
    whole, _, decimals = stored_at.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * MICROSECONDS + int(decimals[:6].ljust(6, "0"))


async def load(store: Store, invocation_id: str) -> Stored | None:
    raw = await get_last(store, store.subjects.state_stream, store.subjects.state(invocation_id))
    return None if raw is None else stored_in(raw, invocation_id)


async def load_or_trace(store: Store, invocation_id: str) -> tuple[Stored | None, str]:
    """The record, or the start token of the one that was deleted; that is empty when there was none."""
    reply = await _last(store, store.subjects.state_stream, store.subjects.state(invocation_id))
    headers = {} if reply is None else reply.headers or {}
    if reply is None or MARKER in headers:
        return None, headers.get(_DELETED_START, "")
    return stored_in(_raw(reply), invocation_id), ""


async def create(store: Store, execution: Execution) -> int | None:
    """Write the first state of an invocation; its revision, or None when a state exists already."""
    data = encode_execution(execution)
    return await _compare_and_set(store, execution.invocation_id, data, 0)


async def replace(
    store: Store, execution: Execution, revision: int, folded: Sequence[bytes] | None = None
) -> int | None:
    """Write over the state that stands at ``revision``; the new revision, or None when another writer was first.

    ``folded`` are the encoded journal entries that the record holds; without them those that it held when it was read.
    """
    if folded is None:
        folded = [encode_entry(entry) for entry in execution.journal]
    data = encode_execution(execution, folded)
    return await _compare_and_set(store, execution.invocation_id, data, revision, lifetime(store, execution))


def lifetime(store: Store, execution: Execution) -> dict[str, str]:
    """The header by which the server removes what has ended when its retention is over; none without retention."""
    if not (execution.expires_at and is_terminal(execution.status)):
        return {}
    seconds = -(-(execution.expires_at - store.clock.now()) // MICROSECONDS)
    return {LIFETIME: f"{max(1, seconds)}s"}


async def delete(store: Store, execution: Execution, revision: int) -> bool:
    """Delete the state that stands at ``revision``, as KV does: a marker, which goes away by itself later.

    The marker names the start, so that a start command that is still there brings nothing back to life. That may lie
    there for long only where no processor has ever taken it. What is left of a journal may, too.
    """
    headers = {
        MARKER: "PURGE",
        "Nats-Rollup": "sub",
        LIFETIME: "1h" if execution.attempt and not execution.journal_length else "8760h",
        EXPECTED: str(revision),
    }
    if execution.start_token:
        headers[_DELETED_START] = execution.start_token
    try:
        await store.requests.publish(store.subjects.state(execution.invocation_id), b"", headers)
    except WrongSequenceError:
        return False
    return True


async def _compare_and_set(
    store: Store, invocation_id: str, data: bytes, revision: int, lifetime: Mapping[str, str] = _FOR_EVER
) -> int | None:
    sequence = await _write(store, invocation_id, data, revision, lifetime)
    store.reached = max(store.reached, sequence or 0)
    return sequence


async def _write(
    store: Store, invocation_id: str, data: bytes, revision: int, lifetime: Mapping[str, str]
) -> int | None:
    subject = store.subjects.state(invocation_id)
    headers = {EXPECTED: str(revision), **lifetime}
    try:
        return (await store.requests.publish(subject, data, headers)).sequence
    except WrongSequenceError:
        return await _after_deletion(store, subject, data) if revision == 0 else None
    except PermissionDeniedError:
        raise
    except UNREACHABLE:
        return await _settle(store, subject, data, headers)


async def _after_deletion(store: Store, subject: str, data: bytes) -> int | None:
    """A key that was deleted leaves a marker, over which a first state may be written.

    Who deleted it may have died before its journal was gone: what is left of that goes first.
    """
    reply = await _last(store, store.subjects.state_stream, subject)
    headers = {} if reply is None else reply.headers or {}
    if MARKER not in headers:
        return None
    marked = headers["Nats-Sequence"]
    entries = store.subjects.journal(store.subjects.state_key(subject), "*")
    await store.requests.exchange([purge_request(store, store.subjects.state_stream, entries, int(marked))])
    try:
        return (await store.requests.publish(subject, data, {EXPECTED: marked})).sequence
    except WrongSequenceError:
        return None


async def _settle(store: Store, subject: str, data: bytes, headers: dict[str, str]) -> int | None:
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
    store: Store, invocation_ids: Sequence[str], ask: Callable[[list[str]], Awaitable[ManyLast | None]] | None = None
) -> dict[str, Stored]:
    """The states of these ids that exist, fetched together; one that cannot be read is logged and left out.

    What a record or message of somebody else's names may be no id, but a wildcard that matches all: it has no state.
    """
    invocation_ids = [each for each in invocation_ids if is_name(each)]
    found: dict[str, Stored] = {}
    for start in range(0, len(invocation_ids), 1000):
        subjects = [store.subjects.state(invocation_id) for invocation_id in invocation_ids[start : start + 1000]]
        answer = await (ask(subjects) if ask else get_many_last(store, store.subjects.state_stream, subjects))
        for raw in answer.messages if answer is not None else []:
            invocation_id = store.subjects.state_key(raw.subject)
            try:
                found[invocation_id] = stored_in(raw, invocation_id)
            except StorageError as error:
                _log.warning("Left out: %s", error)
    return found
