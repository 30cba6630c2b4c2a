"""The message types that a follower has met, which outlive an outage as its feed does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.model.message_types import Schemas
from durablectl.storage.records.message_types import load_schemas
from durablectl.storage.records.states import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Payload
    from durablectl.storage.connection.store import Store

_PAUSE_SECONDS = 0.5


class MetSchemas:
    """Asks the server only for types that it has not met before."""

    def __init__(self, store: Store) -> None:
        self.schemas = Schemas()
        self._store = store
        self._types: set[str] = set()

    async def meet(self, found: Iterable[Payload]) -> Schemas:
        """Those of all payloads so far; waits while the server is away."""
        types = {payload.type_name for payload in found} | self._types
        while types != self._types:
            try:
                self.schemas = await load_schemas(self._store, types)
            except UNREACHABLE:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._types = types
        return self.schemas
