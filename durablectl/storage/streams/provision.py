"""Creating the streams and buckets of a namespace, and telling where existing ones differ."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from durablectl.errors import ConfigurationError, NotProvisionedError, StorageError
from durablectl.model.clock import NANOSECONDS
from durablectl.storage.connection.store import require_jetstream

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import Subjects

DUPLICATE_WINDOW_SECONDS = 120
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
    return [
        {
            **_KEY_VALUE,
            "name": subjects.state_stream,
            "subjects": subjects.state_stream_subjects,
            "retention": "limits",
            "storage": "file",
            "allow_msg_ttl": True,
        },
        {
            "name": subjects.index_stream,
            "subjects": subjects.index_stream_subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "allow_direct": True,
            "allow_msg_ttl": True,
        },
        {
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
        {
            **_KEY_VALUE,
            "name": subjects.processors_stream,
            "subjects": subjects.processors_subjects,
            "retention": "limits",
            # A stream in memory would be gone for good when a single server restarts.
            "storage": "file",
            "max_age": LEASE_SECONDS * NANOSECONDS,
            "duplicate_window": LEASE_SECONDS * NANOSECONDS,
        },
    ]


async def provision(store: Store, *, replicas: int | None = None) -> None:
    """Create what is missing; idempotent, and safe when several processes do it at once.

    ``replicas`` None means 1 for what is created, and whatever it has for what exists. Raises ConfigurationError when
    a stream exists with a configuration that differs, naming stream and setting; UnsupportedServerError without
    JetStream.
    """
    await require_jetstream(store)
    configurations = stream_configurations(store.subjects)
    await asyncio.gather(*(_ensure(store, configuration, replicas) for configuration in configurations))
    store.requests.has_streams = True


async def _ensure(store: Store, wanted: dict[str, Any], replicas: int | None) -> None:
    existing = await stream_config(store, wanted["name"])
    if existing is None:
        await _create(store, {**wanted, "num_replicas": replicas or 1})
        existing = await stream_config(store, wanted["name"])
    if existing is None:
        raise StorageError(f"The stream {wanted['name']} vanished while it was being created.")
    different = differences(wanted, existing)
    if replicas is not None and existing.get("num_replicas", 1) != replicas:
        different.append(f"num_replicas is {existing.get('num_replicas', 1)}, wanted {replicas}")
    if different:
        raise ConfigurationError(
            f"The stream {wanted['name']} exists with another configuration: {'; '.join(different)}.",
            hint="Change it with `nats stream edit`, or use another --namespace.",
        )


def differences(wanted: dict[str, Any], existing: dict[str, Any]) -> list[str]:
    """What is otherwise in ``existing``: "storage is memory, wanted file"."""
    found = []
    for key, value in wanted.items():
        actual = existing.get(key)
        is_same = set(value) == set(actual or ()) if isinstance(value, list) else actual == value
        if not is_same and (value or actual):
            found.append(f"{key} is {actual}, wanted {value}")
    return found


async def _create(store: Store, configuration: dict[str, Any]) -> None:
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
    """NotProvisionedError when the namespace has no streams here: for readers, who create nothing."""
    if not await is_provisioned(store):
        await require_jetstream(store)
        namespace = store.subjects.namespace
        where = f"the namespace {namespace!r}" if namespace else "the default namespace"
        raise NotProvisionedError(
            f"This NATS server holds no workflows yet: {where} has not been set up.",
            hint="Start a processor (durablectl run processor) or a workflow (durablectl wf start), "
            "or check --namespace.",
        )
