"""Moments that are counted from now, by the server's clock: a machine whose clock is wrong means the same by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.records.consistent_reads import hear_server_time

if TYPE_CHECKING:
    from durablectl.model.filters import Filters
    from durablectl.storage.connection.store import Store


async def server_time(store: Store) -> int:
    """The time now by the server's clock, in microseconds; that of this machine where the server does not say."""
    return await hear_server_time(store)


async def by_server_time(store: Store, filters: Filters) -> Filters:
    """The same filters, so long ago counted from now by the server's clock. Asks only where one of them needs it.

    UsageError where a since is not before its until.
    """
    return filters.at(await hear_server_time(store)) if filters.ago else filters
