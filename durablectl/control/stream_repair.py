"""Giving the streams of a namespace the configuration that processors need, where the server can change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl.control.audit_trail import audited, record_change
from durablectl.errors import PermissionDeniedError, StorageError
from durablectl.model.names import JOB_HANDLER
from durablectl.storage.commands.command_queue import UNROUTED
from durablectl.storage.diagnosis import inspection
from durablectl.storage.diagnosis.consumers import find_consumer_faults, repair_consumer
from durablectl.storage.index import index_entries
from durablectl.storage.streams.provision import create_stream, wanted_streams
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.inspection import StreamCondition


@dataclass
class RepairedStreams:
    """Phrases by stream: ``changed`` and ``created`` were made right, ``left`` has to be done by hand.

    A dry run says what there would be to do.
    """

    created: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        return len(self.created) + len(self.changed)

    def to_json(self) -> dict[str, Any]:
        return {"created": self.created, "changed": self.changed, "left": self.left}


@audited("doctor.repair_streams", "_", "replicas")
async def repair_streams(store: Store, *, replicas: int = 0, dry_run: bool = False) -> RepairedStreams:
    """Create what is missing, change what an update of the stream can change, and leave the rest.

    Consumers of commands that somebody paused or limited hand out everything again.
    The states are not created beside an index that lists some: an empty stream is in the way of a restore.
    Raises PermissionDeniedError.
    """
    if not dry_run:
        await record_change()
    done = RepairedStreams()
    conditions = await inspection.read_stream_conditions(store, replicas)
    number = replicas or max((each.replicas for each in conditions), default=1) or 1
    is_listed = any(each.kind is StreamKind.INDEX and each.messages for each in conditions)
    wanted = wanted_streams(store.subjects)
    try:
        for each in conditions:
            if each.exists:
                await _change(store, each, done, dry_run=dry_run)
            elif each.kind is StreamKind.STATES and is_listed:
                done.left[each.name] = ["it does not exist, and its index lists workflows: restore it first"]
            else:
                if not dry_run:
                    await create_stream(store, {**wanted[each.kind], "num_replicas": number})
                done.created.append(each.name)
        if any(each.kind is StreamKind.COMMANDS and each.exists for each in conditions):
            await _repair_consumers(store, done, dry_run=dry_run)
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            "These credentials may not change streams.", hint=f"{error.message} {error.hint}"
        ) from error
    return done


async def _change(store: Store, stream: StreamCondition, done: RepairedStreams, *, dry_run: bool) -> None:
    fixed = [risk for risk in stream.risks if risk.change is not None]
    left = [str(risk) for risk in stream.risks if risk.change is None]
    changes = {key: value for risk in fixed for key, value in (risk.change or {}).items()}
    if changes:
        try:
            if not dry_run:
                await store.requests.call(f"{store.api}.STREAM.UPDATE.{stream.name}", {**stream.config, **changes})
            done.changed[stream.name] = [str(risk) for risk in fixed]
        except StorageError as error:
            left += [f"{'; '.join(map(str, fixed))} (refused: {error.message})"]
    if left:
        done.left[stream.name] = left


async def _repair_consumers(store: Store, done: RepairedStreams, *, dry_run: bool) -> None:
    name = store.subjects.commands_stream
    for handler in (*await index_entries.list_handlers(store), JOB_HANDLER, UNROUTED):
        if faults := await find_consumer_faults(store, handler):
            if not dry_run:
                await repair_consumer(store, handler)
            done.changed[name] = [*done.changed.get(name, ()), *faults]
