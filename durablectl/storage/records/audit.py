"""The audit trail: one message per change that was asked for, in a stream of its own that outlives the workflows."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from durablectl.errors import DurableError, NotProvisionedError, PermissionDeniedError, UnreadableError
from durablectl.model.audit import AuditRecord
from durablectl.storage.connection.rejections import answer_of
from durablectl.storage.streams.direct_get import first_since, last_message, messages
from durablectl.storage.streams.provision import provision_audit, stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import Change

_log = logging.getLogger(__name__)

_BLOCK = 500


async def write(store: Store, record: AuditRecord) -> None:
    """Store a record. Where that cannot be done, warn once per connection: an operation is not refused for it.

    Raises PermissionDeniedError: whoever may not record a change may not make it either, mostly.
    """
    subject = store.subjects.audit(record.invocation_id or record.target)
    data = json.dumps(record.to_json(), ensure_ascii=False).encode()
    try:
        try:
            answer_of(await store.requests.send(subject, data), subject)
        except NotProvisionedError:
            await provision_audit(store)
            await store.requests.publish(subject, data)
    except PermissionDeniedError:
        raise
    except DurableError as error:
        warn(store, error)


def warn(store: Store, error: DurableError) -> None:
    """Say once per connection why changes are not recorded."""
    if not store.has_warned_of_audit:
        store.has_warned_of_audit = True
        _log.warning("Changes are not recorded in the audit trail: %s", error)


async def read(
    store: Store, invocation_id: str = "", *, since: int = 0, newest: int | None = None
) -> AsyncIterator[AuditRecord]:
    """Every record of a workflow or schedule, or of all, the oldest first; none where there is no trail.

    ``since`` is in microseconds. With ``newest``, reading begins so far before the end that at least so many records
    are read; fewer only where there are no more.
    """
    stream = store.subjects.audit_stream
    info = await stream_info(store, stream)
    if info is None or not info["state"]["messages"]:
        return
    pattern = store.subjects.audit(invocation_id) if invocation_id else store.subjects.all_audit
    after = 0
    if since:
        first = await first_since(store, stream, pattern, since)
        if not first:
            return
        after = first - 1
    if newest is not None and not invocation_id:
        last = await last_message(store, stream)
        after = max(after, (last.sequence if last is not None else 0) - newest)
    async for message in messages(store, stream, pattern, after=after, batch=_BLOCK):
        record = _decoded(message)
        if record is not None:
            yield record


def _decoded(message: Change) -> AuditRecord | None:
    try:
        return AuditRecord.from_json(json.loads(message.data), message.timestamp_us)
    except (ValueError, RecursionError, UnreadableError):
        return None  # Somebody else has published it.
