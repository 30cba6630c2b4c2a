"""Which workflows a bulk operation is about: all of them, but little of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import to_rfc3339
from durablectl.query.scanning import scan
from durablectl.storage import states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.records import Execution
    from durablectl.query.filters import Filters
    from durablectl.storage.store import Store


class Selected(NamedTuple):
    """One workflow of a selection; ``created_at`` in microseconds."""

    invocation_id: str
    handler: str
    status: str
    created_at: int

    def to_json(self) -> dict[str, Any]:
        return {
            "invocation_id": self.invocation_id,
            "handler": self.handler,
            "status": self.status,
            "created_at": to_rfc3339(self.created_at),
        }


async def select(store: Store, filters: Filters) -> list[Selected]:
    """Every matching workflow, the oldest first. NotProvisionedError on a server that holds no workflows."""
    found = [_selected(scanned.execution) async for scanned in scan(store) if filters.match(scanned.execution)]
    return sorted(found, key=lambda selected: (selected.created_at, selected.invocation_id))


async def select_ids(store: Store, invocation_ids: Sequence[str]) -> list[Selected]:
    """Those of these workflows that exist, in the order given."""
    stored = await states.load_many(store, invocation_ids)
    return [_selected(stored[each].execution) for each in invocation_ids if each in stored]


def _selected(execution: Execution) -> Selected:
    return Selected(execution.invocation_id, execution.handler, execution.status, execution.created_at)
