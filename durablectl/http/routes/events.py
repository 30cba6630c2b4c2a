"""The routes that stream events: Server-Sent Events, as browsers and ``curl -N`` read them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from durablectl import query
from durablectl.errors import DurableError, NotFoundError, UsageError
from durablectl.http import query_parameters as p
from durablectl.http.filter_parameters import with_filters
from durablectl.http.responses import describe_error, encode_json
from durablectl.http.routes.event_schemas import LISTED, OF_ONE, GivenEventId, LastEventId, StatusOrDeleted, streamed
from durablectl.model.status import is_terminal
from durablectl.model.user_input import LAST_STEPS
from durablectl.query import DELETED, Filters, TailFilters
from durablectl.storage.records.states import UNREACHABLE
from durablectl.storage.streams.provision import require_provisioned, stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from durablectl.http.backend import Backend
    from durablectl.http.event_broadcast import ChangedRow, EventBroadcast, Subscription
    from durablectl.query import WorkflowView
    from durablectl.storage.connection.store import Store

_FIRST_ROWS = 50
_RETRY_SECONDS = 0.5
_MAX_DIGITS = 19
"""Digits of a revision: it has 64 bits."""

_CONCURRENT_OPENINGS = 16
"""Streams that read what they begin with at once: when a thousand clients come back, none waits too long for NATS."""

_INDEX_LAG_SECONDS = 0.05
"""After this, a list shows what was stored before: a state's entry in the index follows it."""

_BEGINNING = b"retry: 2000\n\n"
_HEARTBEAT = b": heartbeat\n\n"


class EventStream(StreamingResponse):
    """A stream of server-sent events; ``resources`` are closed when it has ended, or the client has gone away."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], resources: contextlib.AsyncExitStack) -> None:
        super().__init__(_with_error_event(events), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


class _Position(NamedTuple):
    """``reached`` is the revision behind which a stream goes on, None for one that begins; ``last`` that of all."""

    reached: int | None
    last: int


def router(backend: Backend, broadcast: EventBroadcast, heartbeat_seconds: float) -> APIRouter:
    routes = APIRouter(prefix="/api", tags=["events"], dependencies=p.ONLY_KNOWN)
    opening = asyncio.Semaphore(_CONCURRENT_OPENINGS)

    @routes.get(
        "/workflows/{invocation_id}/events",
        summary="Follow one workflow",
        status_code=200,
        response_class=EventStream,
        responses=streamed(OF_ONE, 400, 404, 503, can_be_over=True),
    )
    async def workflow_events(
        invocation_id: p.InvocationId, last_event_id: LastEventId = None, given: GivenEventId = None
    ) -> Response:
        """First `snapshot`, then `change` after each of its changes, and `end` when it has ended or was deleted.

        A snapshot or change is the workflow as it stands, with its last 50 steps. Steps that take less than 20 ms
        change nothing by themselves, and come with the next change.

        The `id` of an event is the revision. Sent back as `Last-Event-ID`, it goes on with a `change` if there was one,
        without a snapshot; if the workflow had ended by then, the answer is 204, at which browsers stop.
        """
        revision = _revision(last_event_id or given)
        async with contextlib.AsyncExitStack() as stack:
            subscription = await stack.enter_async_context(broadcast.subscribed(invocation_id))
            async with opening:
                reached, _ = await _position(backend.store, revision)
                view = await query.get_workflow(backend.store, invocation_id, steps=LAST_STEPS)
            if reached is not None and reached >= view.revision and is_terminal(view.status):
                return Response(status_code=204)
            events = _workflow_stream(backend, subscription, view, reached, heartbeat_seconds)
            return EventStream(events, stack.pop_all())
        raise AssertionError  # For mypy: an exit stack might swallow errors; this one does not.

    @routes.get(
        "/events",
        summary="Follow all workflows",
        status_code=200,
        response_class=EventStream,
        responses=streamed(LISTED, 400, 404, 503),
    )
    @with_filters("handler", "partition_key")
    async def all_events(
        *,
        status: StatusOrDeleted = None,
        filters: Filters,
        last_event_id: LastEventId = None,
        given: GivenEventId = None,
    ) -> Response:
        """First `snapshot`, the newest 50 that match; then `change`, the row of each that changes, and matches then.

        `deleted` is one more status here. Of a workflow that was deleted, handler and partition key may not be known
        any more; then it is told whatever the filters say of them.

        The `id` of an event is the revision, and moves on with the heartbeats. Sent back as `Last-Event-ID`, it goes on
        without a snapshot. The server keeps one state a workflow: of what happened in between, the last change of each
        is told, and not those before it; what its retention has removed is not told.
        """
        revision = _revision(last_event_id or given)
        changes = TailFilters.parse(p.split(status), filters)
        async with contextlib.AsyncExitStack() as stack:
            subscription = await stack.enter_async_context(broadcast.subscribed(filters=changes))
            async with opening:
                reached, last = await _position(backend.store, revision)
            if reached is not None:
                return EventStream(
                    _resumed_stream(broadcast, subscription, reached, heartbeat_seconds), stack.pop_all()
                )
            await asyncio.sleep(_INDEX_LAG_SECONDS)
            async with opening:
                shown = await _snapshot(backend.store, changes)
            return EventStream(_list_stream(broadcast, subscription, shown, last, heartbeat_seconds), stack.pop_all())
        raise AssertionError  # For mypy: an exit stack might swallow errors; this one does not.

    return routes


def _revision(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise UsageError(f"The Last-Event-ID {text!r} cannot be used: it is no id of an event here.")
    return int(text)


async def _position(store: Store, revision: int | None) -> _Position:
    """A revision that the server has not reached is of another server, or of another life of this one."""
    info = await stream_info(store, store.subjects.state_stream)
    if info is None:
        await require_provisioned(store)
    last = int(info["state"]["last_seq"]) if info else 0
    return _Position(None if revision is None or revision > last else revision, last)


class _Snapshot(NamedTuple):
    """A snapshot, and the revisions of the workflows in it."""

    body: bytes
    revisions: dict[str, int]


async def _snapshot(store: Store, filters: TailFilters) -> _Snapshot:
    if filters.statuses == {DELETED}:
        return _Snapshot(encode_json({"workflows": [], "total": 0}), {})
    wanted: Filters = replace(filters.attributes, statuses=filters.statuses - {DELETED})
    page = await query.list_workflows(store, wanted, _FIRST_ROWS)
    body = {"workflows": [view.to_json() for view in page.workflows], "total": page.total}
    return _Snapshot(encode_json(body), {view.invocation_id: view.revision for view in page.workflows})


async def _workflow_stream(
    backend: Backend, subscription: Subscription, view: WorkflowView, reached: int | None, seconds: float
) -> AsyncIterator[bytes]:
    yield _BEGINNING
    if reached is None or view.revision > reached:
        yield _event("snapshot" if reached is None else "change", encode_json(view.to_json()), view.revision)
    changed = view.revision
    while not (is_terminal(view.status) or subscription.is_over):
        items = await subscription.take(seconds if view.revision >= changed else _RETRY_SECONDS)
        for item in items:
            if isinstance(item, str):
                yield _connection(item)
            elif item.view.status == DELETED and item.view.revision > changed:
                yield _end(item.view)
                return
            else:
                changed = max(changed, item.view.revision)
        newer = await _read_newer(backend, view, changed)
        if newer is not None:
            view = newer
            yield _event("change", encode_json(view.to_json()), view.revision)
        elif not items:
            yield _HEARTBEAT
    if not subscription.is_over:
        yield _end(view)


async def _read_newer(backend: Backend, view: WorkflowView, changed: int) -> WorkflowView | None:
    """The workflow as it stands at the revision ``changed`` or later, if that is behind the view and can be read."""
    if view.revision >= changed:
        return None
    try:
        newer = await query.get_workflow(backend.store, view.invocation_id, steps=LAST_STEPS)
    except (*UNREACHABLE, NotFoundError):
        return None  # Asked again when it is back; of a deletion the subscription is told.
    return newer if newer.revision >= changed else None


async def _list_stream(
    broadcast: EventBroadcast, subscription: Subscription, shown: _Snapshot, last: int, seconds: float
) -> AsyncIterator[bytes]:
    yield _BEGINNING + _event("snapshot", shown.body, last)
    async for event in _rows(broadcast, subscription, last, shown.revisions, seconds):
        yield event


async def _resumed_stream(
    broadcast: EventBroadcast, subscription: Subscription, reached: int, seconds: float
) -> AsyncIterator[bytes]:
    yield _BEGINNING
    async for row in broadcast.changes_since(reached):
        reached = row.view.revision
        if subscription.wants(row.view):
            yield _event("change", row.json, reached)
    async for event in _rows(broadcast, subscription, reached, {}, seconds):
        yield event


async def _rows(
    broadcast: EventBroadcast, subscription: Subscription, reached: int, shown: dict[str, int], seconds: float
) -> AsyncIterator[bytes]:
    """What is newer than ``reached``, and than what is ``shown`` of a workflow."""

    def is_new(row: ChangedRow) -> bool:
        return row.view.revision > max(reached, shown.get(row.view.invocation_id, 0))

    while True:
        items = await subscription.take(seconds)
        if subscription.is_over:
            return
        events = [
            _connection(item) if isinstance(item, str) else _event("change", item.json, item.view.revision)
            for item in items
            if isinstance(item, str) or is_new(item)
        ]
        if not items:
            # Whoever waits for something rare need not read again all that was not for him.
            events.append(b": heartbeat\nid: %d\n\n" % max(reached, broadcast.position))
        if events:
            yield b"".join(events)


def _event(name: str, data: bytes, revision: int | None = None) -> bytes:
    id_line = "" if revision is None else f"id: {revision}\n"
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), id_line.encode(), data)


def _connection(status: str) -> bytes:
    return _event("connection", encode_json({"status": status}))


def _end(view: WorkflowView) -> bytes:
    body = {"invocation_id": view.invocation_id, "status": view.status, "revision": view.revision}
    return _event("end", encode_json(body), view.revision)


async def _with_error_event(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The last event tells why, where a stream cannot go on."""
    try:
        async for event in events:
            yield event
    except DurableError as error:
        body: dict[str, Any] = describe_error(error)[1]
        yield _event("error", encode_json(body))
