"""Which handlers there are: one message each, without a value, written when the first of its workflows is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.names import is_name
from durablectl.storage.connection.requests import EXPECTED, Request
from durablectl.storage.streams.direct_get import subjects_matching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.storage.connection.store import Store


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
    found = await subjects_matching(store, subjects.state_stream, [subjects.handler("*")])
    return sorted(name for name in map(subjects.handler_of, found) if is_name(name))
