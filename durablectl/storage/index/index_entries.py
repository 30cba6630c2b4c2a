"""The index: one subject per invocation and one per handler, without values; what listing and counting read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import DurableError
from durablectl.model.names import is_name, is_system_handler
from durablectl.storage.connection.requests import EXPECTED, Request
from durablectl.storage.connection.store import purge_request
from durablectl.storage.records.consistent_reads import load_after_write
from durablectl.storage.records.states import ttl_header
from durablectl.storage.streams.direct_get import get_many_last, messages, subjects_matching
from durablectl.storage.streams.feed import read_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.subjects import Subjects

_AT_ONCE = 500


def index_subject(subjects: Subjects, execution: Execution) -> str:
    """The index subject that belongs to a state; a pure function of the record."""
    return subjects.index(
        execution.index_group,
        execution.indexed_at,
        execution.handler,
        execution.partition_key,
        execution.invocation_id,
        waits=execution.index_waits,
    )


def superseded_subjects(subjects: Subjects, execution: Execution) -> list[str]:
    """The index subjects that states before it had, as far as the record remembers."""
    handler, partition, invocation_id = execution.handler, execution.partition_key, execution.invocation_id
    return [
        subjects.index(left.status, left.at, handler, partition, invocation_id, waits=left.waits)
        for left in execution.superseded_entries
    ]


async def list_indexed_ids(store: Store, groups: Iterable[str]) -> AsyncIterator[str]:
    """The invocation ids that have an entry in these status groups, those entered first coming first.

    Those of durablectl's own handlers are among them.
    """
    subjects = store.subjects
    filters = [each for group in groups for each in (subjects.index_filter(group), subjects.system_index_filter(group))]
    async for change in read_snapshot(store, store.subjects.index_stream, filters):
        invocation_id = change.subject.rpartition("~")[2]
        if is_name(invocation_id):
            yield invocation_id


async def oldest_ids(store: Store, group: str, most: int) -> list[str]:
    """The invocation ids of the entries that came first into a status group: durablectl's own, then the others."""
    subjects = store.subjects
    found: list[str] = []
    for each in (subjects.system_index_filter(group), subjects.index_filter(group)):
        async for change in messages(store, subjects.index_stream, each, batch=_AT_ONCE):
            if len(found) == most:
                return found
            invocation_id = change.subject.rpartition("~")[2]
            if is_name(invocation_id):
                found.append(invocation_id)
    return found


def addition(store: Store, execution: Execution) -> list[Request]:
    """The writes that enter a first state, and make its handler known; who counts by handler asks for each by name."""
    names = [execution.handler]
    if execution.index_waits:
        names.append(f"{execution.handler}.{execution.index_waits}")
    return [_put_request(store, execution), *handler_additions(store, names)]


def _put_request(store: Store, execution: Execution) -> Request:
    """Written once, never over itself: of a subject written twice, nats-server 2.15 forgets the purge at a kill -9."""
    headers = {EXPECTED: "0", **ttl_header(store, execution)}
    return Request(index_subject(store.subjects, execution), b"", headers, may_exist=True)


async def find_entered(store: Store, executions: Iterable[Execution]) -> set[str]:
    """The ids of those whose entry names their waits, and is there."""
    subjects = {index_subject(store.subjects, each): each.invocation_id for each in executions if each.index_waits}
    found = await subjects_present(store, [*subjects])
    return {subjects[subject] for subject in found}


async def subjects_present(store: Store, subjects: Sequence[str]) -> dict[str, int]:
    """Which of these entries there are, with their sequences."""
    found: dict[str, int] = {}
    for start in range(0, len(subjects), _AT_ONCE):
        answer = await get_many_last(store, store.subjects.index_stream, subjects[start : start + _AT_ONCE])
        found |= {raw.subject: raw.sequence for raw in (answer.messages if answer is not None else ())}
    return found


def expiry(store: Store, execution: Execution) -> list[Request]:
    """The writes after which the entry of what has ended goes away with it, when its retention is over."""
    subject = index_subject(store.subjects, execution)
    return [removal(store, subject), _put_request(store, execution)]


def removal(store: Store, subject: str) -> Request:
    """The write that removes an entry, if it is there."""
    return purge_request(store, store.subjects.index_stream, subject)


def update_requests(store: Store, execution: Execution) -> list[Request]:
    """The writes that enter a state that is stored, then remove the entries it replaced; repeatable without harm.

    Dying between leaves an entry that its state disowns, which readers skip, and which the next change removes.
    """
    current = index_subject(store.subjects, execution)
    past = [subject for subject in superseded_subjects(store.subjects, execution) if subject != current]
    return [_put_request(store, execution), *(removal(store, subject) for subject in past)]


async def update_entry(
    store: Store, execution: Execution, others: Iterable[Request] = (), *, before: Sequence[Request] = ()
) -> None:
    """Do that after ``before``, together with ``others``, and look again: another may have changed the state meanwhile.

    Then our entry, late, would stand beside theirs. One that was there before us is theirs to remove: taken away here,
    nothing would lead to the workflow of a processor that died on its way to that.
    """
    answers = await store.requests.exchange([*before, *update_requests(store, execution), *others])
    was_there = not answers[len(before)]
    if was_there:
        return
    stored = await load_after_write(store, execution.invocation_id)
    current = index_subject(store.subjects, execution)
    if stored is None or index_subject(store.subjects, stored.execution) != current:
        await store.requests.exchange([removal(store, current)])


def handler_additions(store: Store, names: Iterable[str]) -> list[Request]:
    """The writes for those that this process has not entered before."""
    new = [name for name in names if name not in store.known_handlers and not is_system_handler(name)]
    store.known_handlers.update(new)
    return [Request(store.subjects.handler(name), b"", {EXPECTED: "0"}, may_exist=True) for name in new]


async def add_waits(store: Store, handler: str, waits: str) -> None:
    """Make known which ``waits`` an index entry of a handler names, before there is such an entry; once per process."""
    names = [f"{handler}.{waits}"] if waits else []
    try:
        if writes := handler_additions(store, names):
            await store.requests.exchange(writes)
    except DurableError:
        store.known_handlers.difference_update(names)
        raise


async def unknown_names(
    store: Store, handlers: Iterable[str], waits: Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    """The handlers of which the name, or some of their ``waits``, is not known, each with what is to be added."""
    names, loaded = set(await list_handlers(store)), await load_waits(store)
    found = {handler: [handler] for handler in handlers if handler not in names}
    for handler, named in waits.items():
        missing = [f"{handler}.{each}" for each in sorted({*named} - {*loaded.get(handler, ())})]
        if missing:
            found.setdefault(handler, []).extend(missing)
    return found


async def load_waits(store: Store, handlers: Iterable[str] = ()) -> Mapping[str, Sequence[str]]:
    """The waits that entries of each of these handlers have named at some time; of all, without ``handlers``."""
    subjects = store.subjects
    wanted = [subjects.handler_waits(name, "*") for name in handlers or ("*",)]
    found: dict[str, list[str]] = {}
    for subject in await subjects_matching(store, subjects.state_stream, wanted):
        handler, _, waits = subjects.handler_of(subject).partition(".")
        found.setdefault(handler, []).append(waits)
    return found


async def add_handlers(store: Store, names: Iterable[str]) -> None:
    names = [*names]
    try:
        await store.requests.exchange(handler_additions(store, names))
    except DurableError:
        store.known_handlers.difference_update(names)  # they may not be stored
        raise


async def list_handlers(store: Store) -> list[str]:
    """The names of all, sorted."""
    subjects = store.subjects
    found = await subjects_matching(store, subjects.state_stream, [subjects.handler("*")])
    return sorted(name for name in map(subjects.handler_of, found) if is_name(name))
