"""Which handlers there are: one message each, without a value, written when the first of its workflows is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.feed import follow
from durablectl.storage.requests import EXPECTED, Request
from durablectl.storage.states import get_many_last

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.storage.store import Store


def entering(store: Store, names: Iterable[str]) -> list[Request]:
    """The writes for those that this process has not entered before."""
    new = [name for name in names if name not in store.known_handlers]
    store.known_handlers.update(new)
    return [Request(store.subjects.handler(name), b"", {EXPECTED: "0"}, may_exist=True) for name in new]


async def enter(store: Store, names: Iterable[str]) -> None:
    await store.requests.exchange(entering(store, names))


async def known(store: Store) -> list[str]:
    """The names of all, sorted."""
    subjects = store.subjects
    answer = await get_many_last(store, subjects.state_stream, [subjects.handler("*")])
    if answer is not None:
        return sorted(subjects.handler_of(raw.subject) for raw in answer.messages)
    names = []
    async with follow(store, subjects.state_stream, [subjects.handler("*")]) as feed:
        async for change in feed:
            names.append(subjects.handler_of(change.subject))
            if not change.remaining:
                return sorted(names)
    return sorted(names)
