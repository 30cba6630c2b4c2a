"""Creating the streams and buckets of a namespace, and telling where existing ones differ."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from durablectl.errors import ConfigurationError, DurableError, NotProvisionedError, StorageError
from durablectl.model.clock import NANOSECONDS
from durablectl.storage.connection.store import require_jetstream
from durablectl.storage.streams.commands_marker import write_marker
from durablectl.storage.streams.index_marker import IndexMarker, replace_marker
from durablectl.storage.streams.stream_risks import StreamKind, find_risks

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import Subjects

_log = logging.getLogger(__name__)

DUPLICATE_WINDOW_SECONDS = 120
AUDIT_DAYS = 90
AUDIT_RECORDS = 1_000_000
"""How many changes are kept, for how long."""
LEASE_SECONDS = 3
"""How long a processor counts as alive after its last sign of life."""

_KEY_VALUE = {
    "discard": "new",
    "max_msgs_per_subject": 1,
    "allow_rollup_hdrs": True,
    "deny_delete": True,
    "allow_direct": True,
}


def stream_configurations(subjects: Subjects) -> list[dict[str, Any]]:
    """The configuration of every stream, as the JetStream API takes it; durations in nanoseconds."""
    return [*wanted_streams(subjects).values()]


def wanted_streams(subjects: Subjects) -> dict[StreamKind, dict[str, Any]]:
    """The same by the kind of each."""
    return {
        StreamKind.STATES: {
            **_KEY_VALUE,
            "name": subjects.state_stream,
            "subjects": subjects.state_stream_subjects,
            "retention": "limits",
            "storage": "file",
            "allow_msg_ttl": True,
        },
        StreamKind.INDEX: {
            "name": subjects.index_stream,
            "subjects": subjects.index_stream_subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "allow_direct": True,
            "allow_msg_ttl": True,
        },
        StreamKind.COMMANDS: {
            "name": subjects.commands_stream,
            "subjects": subjects.commands_stream_subjects,
            "retention": "workqueue",
            "storage": "file",
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_msg_schedules": True,
            "allow_rollup_hdrs": True,
            "duplicate_window": DUPLICATE_WINDOW_SECONDS * NANOSECONDS,
        },
        StreamKind.PROCESSORS: {
            **_KEY_VALUE,
            "name": subjects.processors_stream,
            "subjects": subjects.processors_subjects,
            "retention": "limits",
            # A stream in memory would be gone for good when a single server restarts.
            "storage": "file",
            "max_age": LEASE_SECONDS * NANOSECONDS,
            "duplicate_window": LEASE_SECONDS * NANOSECONDS,
        },
    }


def jobs_configuration(subjects: Subjects) -> dict[str, Any]:
    """The stream of what bulk jobs store beside their workflows; made by the first processor or job that needs it."""
    return {
        "name": subjects.jobs_stream,
        "subjects": subjects.jobs_stream_subjects,
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
    }


def audit_configuration(subjects: Subjects) -> dict[str, Any]:
    """The stream of the audit trail: the oldest records go first, by age or number."""
    return {
        "name": subjects.audit_stream,
        "subjects": subjects.audit_stream_subjects,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": AUDIT_DAYS * 86_400 * NANOSECONDS,
        "max_msgs": AUDIT_RECORDS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


async def provision_audit(store: Store, *, replicas: int | None = None) -> None:
    """Create the stream of the audit trail if it is missing, as ``provision_jobs`` does."""
    await _provision_beside(store, audit_configuration(store.subjects), replicas)


async def provision_jobs(store: Store, *, replicas: int | None = None) -> None:
    """Create the stream of jobs if it is missing, with as many replicas as the states have. Raises as ``provision``."""
    await _provision_beside(store, jobs_configuration(store.subjects), replicas)


async def _provision_beside(store: Store, wanted: dict[str, Any], replicas: int | None) -> None:
    if await stream_config(store, wanted["name"]) is None:
        states = await stream_config(store, store.subjects.state_stream)
        number = replicas or (1 if states is None else int(states.get("num_replicas", 1)))
        await create_stream(store, {**wanted, "num_replicas": number})


async def provision(store: Store, *, replicas: int | None = None) -> None:
    """Create what is missing; idempotent, and safe when several processes do it at once.

    ``replicas`` None means 1 for what is created, and whatever it has for what exists. Raises ConfigurationError when
    a stream exists with a configuration that loses work or prevents it, naming stream, setting and effect;
    UnsupportedServerError without JetStream.
    """
    await require_jetstream(store)
    wanted = wanted_streams(store.subjects)
    created = await asyncio.gather(*(_ensure(store, kind, each, replicas) for kind, each in wanted.items()))
    store.requests.has_streams = True
    new = {kind for kind, is_new in zip(wanted, created, strict=True) if is_new}
    # Without these markers, processors would look for lost commands, and for workflows that no entry leads to. One that
    # cannot be written costs such a look.
    markers = []
    if {StreamKind.STATES, StreamKind.COMMANDS} <= new:
        markers.append(_attempt(write_marker(store, were_lost=False)))
    if {StreamKind.STATES, StreamKind.INDEX} <= new:
        markers.append(_attempt(_mark_index_complete(store)))
    await asyncio.gather(*markers)


async def _attempt(write: Awaitable[None]) -> None:
    with contextlib.suppress(DurableError):
        await write


async def _mark_index_complete(store: Store) -> None:
    info = await stream_info(store, store.subjects.index_stream)
    if info is not None:
        await replace_marker(store, IndexMarker(str(info["created"]), is_complete=True), 0)


async def _ensure(store: Store, kind: StreamKind, wanted: dict[str, Any], replicas: int | None) -> bool:
    """Whether it did not exist."""
    existing = await stream_config(store, wanted["name"])
    is_new = existing is None
    if is_new:
        await create_stream(store, {**wanted, "num_replicas": replicas or 1})
        existing = await stream_config(store, wanted["name"])
    if existing is None:
        raise StorageError(f"The stream {wanted['name']} vanished while it was being created.")
    risks = find_risks(kind, wanted, existing, replicas or 0)
    blocking = [risk for risk in risks if risk.blocks]
    if blocking:
        by_hand = "" if all(risk.change is not None for risk in blocking) else ", which says what is left to you"
        raise ConfigurationError(
            f"The stream {wanted['name']} exists with another configuration: {'; '.join(map(str, blocking))}.",
            hint=f"Run `durablectl doctor --repair --streams`{by_hand}, or use another --namespace.",
        )
    for risk in risks:
        _log.warning("The stream %s: %s.", wanted["name"], risk)
    return is_new


async def create_stream(store: Store, configuration: dict[str, Any]) -> None:
    """Create it unless another process has done so meanwhile. Raises ConfigurationError."""
    try:
        await store.requests.call(f"{store.api}.STREAM.CREATE.{configuration['name']}", configuration)
    except StorageError as error:
        if await stream_config(store, configuration["name"]) is None:
            raise ConfigurationError(
                f"The stream {configuration['name']} cannot be created: {error.message}",
                hint="Another stream may hold its subjects, or the account's limits are reached.",
            ) from error


async def stream_config(store: Store, stream: str) -> dict[str, Any] | None:
    """The stream's configuration, or None when it does not exist."""
    info = await stream_info(store, stream)
    return None if info is None else dict(info["config"])


async def stream_info(store: Store, stream: str) -> dict[str, Any] | None:
    """The stream's information as the JetStream API gives it, or None when the stream does not exist."""
    try:
        return await store.requests.call(f"{store.api}.STREAM.INFO.{stream}")
    except NotProvisionedError:
        return None


async def is_provisioned(store: Store) -> bool:
    """Whether the namespace has its streams here."""
    return await stream_info(store, store.subjects.state_stream) is not None


async def require_provisioned(store: Store) -> None:
    """NotProvisionedError when the records of the namespace are not here: for readers, who create nothing.

    It tells a namespace that was never set up from one whose records are gone.
    """
    if not await is_provisioned(store):
        await require_jetstream(store)
        raise await no_records_error(store)


async def no_records_error(store: Store) -> NotProvisionedError:
    """The error for a namespace without its stream of states: never set up, or lost."""
    subjects = store.subjects
    entries = await _messages_in(store, subjects.index_stream)
    if entries is None and await _messages_in(store, subjects.processors_stream) is None:
        namespace = subjects.namespace
        where = f"the namespace {namespace!r}" if namespace else "the default namespace"
        return NotProvisionedError(
            f"This NATS server holds no workflows yet: {where} has not been set up.",
            hint="Start a processor (durablectl run processor) or a workflow (durablectl wf start), "
            "or check --namespace.",
        )
    listed = f", although {subjects.index_stream} lists {entries:,} workflows" if entries else ""
    return NotProvisionedError(
        f"The stream {subjects.state_stream}, which holds the workflows, does not exist on this NATS server{listed}.",
        hint="It was deleted. Restore it from a backup (nats stream restore). Without a backup, a processor or "
        "`durablectl wf start` creates an empty one.",
    )


async def _messages_in(store: Store, stream: str) -> int | None:
    """How many messages the stream holds; None where it does not exist, or may not be asked."""
    try:
        info = await stream_info(store, stream)
    except DurableError:
        return None
    return None if info is None else int(info["state"]["messages"])
