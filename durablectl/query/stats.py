"""Counts of workflows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from durablectl.query.filters import Filters
from durablectl.query.scanning import scan
from durablectl.query.views import StatsView
from durablectl.storage.commands import count_set_aside

if TYPE_CHECKING:
    from durablectl.storage.store import Store


async def get_stats(store: Store, filters: Filters | None = None) -> StatsView:
    """Raises NotProvisionedError on a server that holds no workflows."""
    filters = filters or Filters()
    by_status: Counter[str] = Counter()
    by_handler: Counter[str] = Counter()
    async for scanned in scan(store):
        if filters.match(scanned.execution):
            by_status[scanned.execution.status] += 1
            by_handler[scanned.execution.handler] += 1
    set_aside = await count_set_aside(store)
    return StatsView(by_status.total(), dict(by_status.most_common()), dict(by_handler.most_common()), set_aside)
