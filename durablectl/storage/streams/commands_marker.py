"""The marker among the commands that says that they are complete; gone where their stream was deleted or purged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.connection.requests import EXPECTED, Request

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store

ALWAYS_COMPLETE = b"complete"
"""None were ever lost; any other content says that some may have had to be published again when it was written."""
_RECALLED = b"recalled"


async def write_marker(store: Store, *, were_lost: bool) -> None:
    """Store it unless another process has done so meanwhile."""
    content = _RECALLED if were_lost else ALWAYS_COMPLETE
    await store.requests.exchange([Request(store.subjects.commands_marker, content, {EXPECTED: "0"}, may_exist=True)])
