"""Commands that no processor will ever take, or that would change nothing: what is left of deleted workflows, say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import InvalidNameError, InvalidValueError, StorageError
from durablectl.model.codec import decode_command
from durablectl.model.kinds import CommandKind
from durablectl.model.names import is_name, is_system_handler
from durablectl.model.status import is_terminal
from durablectl.model.validation import check_command
from durablectl.storage.records import schedules, states
from durablectl.storage.streams.direct_get import count, count_many, messages
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from durablectl.model.records import Command
    from durablectl.storage.connection.store import Store

MOST_COMMANDS = 10_000
"""So many commands of handlers without a processor are looked at."""
_SUBJECTS_PER_PAGE = 100_000
_MOST_SUBJECTS = 20_000
"""The server lists so many subjects in a few milliseconds."""
_MOST_JUDGED = 200
"""So many commands are read where there is little time: each takes a look at a record."""


class DeadReason(StrEnum):
    """Why a command leads nowhere."""

    UNREADABLE = "unreadable"
    ODD_SUBJECT = "odd_subject"
    """Its subject names no handler that a processor can have."""
    DELETED = "deleted"
    """Its workflow, or schedule, was deleted."""
    ENDED = "ended"
    """Its workflow has ended, or another one has its id."""


class DeadCommand(NamedTuple):
    """``sequence`` is that of the message in COMMANDS; ``invocation_id`` is empty where it cannot be read."""

    sequence: int
    subject: str
    invocation_id: str
    reason: DeadReason


@dataclass(frozen=True)
class StrayCommands:
    """Commands of handlers that no live processor has, beside those that known workflows wait with.

    ``by_handler`` counts them by the first token of their subject, ``dead`` those of them that were read and lead
    nowhere.
    """

    by_handler: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[DeadReason, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.by_handler.values())


async def find_stray_commands(
    store: Store, served: Collection[str], explained: Collection[str], known: Collection[str]
) -> StrayCommands:
    """What is stored for handlers that are not ``served``; counted, and read only where it is little.

    Workflows that have not ended are known of the ``explained`` ones: of their commands, those that were read and lead
    nowhere count. Where commands have many subjects, those of the ``known`` handlers are counted: a full list takes
    long.
    """
    stored, is_complete = await _count_unserved(store, served, known)
    stray = {handler: number for handler, number in stored.items() if handler not in explained}
    if not is_complete or not 0 < sum(stored.values()) <= _MOST_JUDGED:
        return StrayCommands(stray)
    dead = await find_dead_commands(store, served)
    for handler, number in Counter(_handler(store, each.subject) for each in dead).items():
        stray.setdefault(handler, number)
    return StrayCommands(stray, Counter(each.reason for each in dead))


async def _count_unserved(
    store: Store, served: Collection[str], known: Collection[str]
) -> tuple[Mapping[str, int], bool]:
    """The stored commands by handler, without those of durablectl's own; False where only ``known`` are counted."""
    stream, subjects = store.subjects.commands_stream, store.subjects
    info = await stream_info(store, stream)
    number = await count(store, stream, subjects.all_commands) if info is not None else 0
    if info is None or not number:
        return {}, True
    # Every other message of the stream, a timer, has a subject of its own.
    state = info["state"]
    if int(state.get("num_subjects", 0)) - (int(state["messages"]) - number) <= _MOST_SUBJECTS:
        found = await count_by_handler(store)
        return {name: each for name, each in found.items() if name not in served and not is_system_handler(name)}, True
    names = sorted({*known} - {*served})
    numbers = await count_many(store, stream, [subjects.handler_commands(name) for name in names])
    return {name: each for name, each in zip(names, numbers, strict=True) if each}, False


def _handler(store: Store, subject: str) -> str:
    return subject.removeprefix(store.subjects.all_commands.removesuffix(">")).split(".")[0]


async def count_by_handler(store: Store) -> dict[str, int]:
    """The commands that are stored, by the first token behind the prefix: the handler, or a partition key without."""
    found: Counter[str] = Counter()
    routed = store.subjects.all_commands.count(".") + 1
    for subject, number in (await _subjects(store)).items():
        if subject.count(".") >= routed:
            found[_handler(store, subject)] += number
    return found


async def _subjects(store: Store) -> Mapping[str, int]:
    stream = store.subjects.commands_stream
    found: dict[str, int] = {}
    while True:
        body = {"subjects_filter": store.subjects.all_commands, "offset": len(found)}
        info = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}", body)
        page = info["state"].get("subjects") or {}
        found.update(page)
        if len(page) < _SUBJECTS_PER_PAGE:
            return found


async def find_dead_commands(store: Store, served: Collection[str]) -> list[DeadCommand]:
    """Those of handlers that are not ``served``; a live processor takes every other, and drops it if it is stale."""
    found: list[DeadCommand] = []
    left = MOST_COMMANDS
    for handler in await count_by_handler(store):
        if handler in served or left <= 0:
            continue
        async for message in messages(store, store.subjects.commands_stream, store.subjects.handler_commands(handler)):
            left -= 1
            invocation_id, reason = await _judge(store, handler, message.data)
            if reason is not None:
                found.append(DeadCommand(message.sequence, message.subject, invocation_id, reason))
            if left <= 0:
                break
    return found


async def _judge(store: Store, handler: str, data: bytes) -> tuple[str, DeadReason | None]:
    try:
        command = decode_command(data)
        check_command(command)
    except (StorageError, InvalidNameError, InvalidValueError):
        return "", DeadReason.UNREADABLE
    if not is_name(handler):
        return command.invocation_id, DeadReason.ODD_SUBJECT
    if command.kind == CommandKind.FIRE:
        is_gone = await schedules.load(store, command.schedule) is None
        return "", DeadReason.DELETED if is_gone else None
    return command.invocation_id, await _fate(store, command)


async def _fate(store: Store, command: Command) -> DeadReason | None:
    try:
        stored, deleted_start = await states.load_or_tombstone(store, command.invocation_id)
    except StorageError:
        return None  # A damaged record is reported elsewhere.
    if stored is None:
        # A start whose state was never written is made up for by the processor that takes it.
        is_deleted = command.kind != CommandKind.START or (deleted_start and deleted_start == command.start_token)
        return DeadReason.DELETED if is_deleted else None
    is_other = command.kind == CommandKind.START and stored.execution.start_token != command.start_token
    return DeadReason.ENDED if is_other or is_terminal(stored.execution.status) else None


async def remove_command(store: Store, command: DeadCommand) -> None:
    """Remove one; a repetition, or a command that was taken meanwhile, is no error."""
    try:
        await store.requests.call(
            f"{store.api}.STREAM.MSG.DELETE.{store.subjects.commands_stream}", {"seq": command.sequence}
        )
    except StorageError as error:
        if _NOT_FOUND not in error.message:
            raise


_NOT_FOUND = "no message found"
