"""Entering all workflows in an index that was created again while there were workflows: one processor does it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from durablectl.errors import PermissionDeniedError
from durablectl.storage.index import entering
from durablectl.storage.records import leases
from durablectl.storage.streams.index_marker import IndexMarker, replace_marker

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)


class IndexFiller:
    """Fills the index unless its marker says that it is complete, or that another live processor fills it.

    Dying in the middle leaves the marker unfinished. Two processors at once store each entry once.
    """

    def __init__(self, store: Store, processor_id: str) -> None:
        self._store = store
        self._processor_id = processor_id
        self._settled = ""

    async def settle(self, created: str) -> bool:
        """Whether the index stream that was created then is complete, as far as this processor can see to it."""
        if self._settled == created:
            return True
        marker, revision = await entering.load_marker(self._store)
        if marker.created == created and marker.is_complete:
            self._settled = created
            return True
        is_begun = marker.created == created and marker.filler not in {"", self._processor_id}
        if is_begun and await leases.is_alive(self._store, marker.filler):
            return False
        claimed = await replace_marker(self._store, IndexMarker(created, filler=self._processor_id), revision)
        if claimed is None:
            return False  # another processor was first
        is_filled = await self._fill()
        left = await replace_marker(self._store, IndexMarker(created, is_complete=is_filled), claimed)
        if left is None and is_filled:
            return False  # another processor took this one for dead, and fills the index itself
        self._settled = created
        return True

    async def _fill(self) -> bool:
        """False where this processor lacks a permission: another one may have it."""
        try:
            entered = await entering.enter_all(self._store)
        except PermissionDeniedError as error:
            _log.warning("The index may lack workflows, and is not filled: %s %s", error.message, error.hint)
            return False
        if entered:
            _log.warning("%d workflows that the index lacked were entered in it.", entered)
        return True
