"""Descriptions of protobuf message types, stored beside the data that uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.message_types import Schemas, describe
from durablectl.storage.streams.direct_get import get_last, get_many_last

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.storage.connection.store import Store


class SchemaWriter:
    """Stores each message type once a process, before the first record that uses it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[str] = {""}

    def forget(self) -> None:
        """Have each type stored again when it is used next: the stream that held them was replaced."""
        self._known = {""}

    def knows(self, type_name: str) -> bool:
        return type_name in self._known

    async def ensure(self, message_type: type) -> None:
        type_name: str = message_type.DESCRIPTOR.full_name  # type: ignore[attr-defined]
        if type_name in self._known:
            return
        description = describe(message_type)
        subject = self._store.subjects.type(type_name)
        stored = await get_last(self._store, self._store.subjects.state_stream, subject)
        if stored is None or stored.data != description:
            await self._store.requests.publish(subject, description)
        self._known.add(type_name)


async def load_schemas(store: Store, type_names: Iterable[str]) -> Schemas:
    """The stored descriptions of these types; one that is not stored is left out."""
    schemas = Schemas()
    subjects = sorted({store.subjects.type(name) for name in type_names if name})
    if subjects:
        answer = await get_many_last(store, store.subjects.state_stream, subjects)
        for raw in answer.messages if answer is not None else []:
            schemas.add(store.subjects.type_name(raw.subject), raw.data)
    return schemas
