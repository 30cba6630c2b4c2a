"""Removing commands that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.control.audit_trail import audited, record_change
from durablectl.errors import PermissionDeniedError
from durablectl.storage.diagnosis.dead_commands import find_dead_commands, remove_command
from durablectl.storage.records import leases
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


@audited("doctor.remove_commands", "_")
async def remove_dead_commands(store: Store, *, dry_run: bool = False) -> int:
    """Remove every command that no processor will ever take; how many. Raises PermissionDeniedError."""
    if await stream_info(store, store.subjects.commands_stream) is None:
        return 0
    live = await leases.live_processors(store)
    found = await find_dead_commands(store, {name for lease in live for name in lease.all_handlers})
    if found and not dry_run:
        await record_change(commands=len(found))
        try:
            for command in found:
                await remove_command(store, command)
        except PermissionDeniedError as error:
            raise PermissionDeniedError(
                "These credentials may not remove commands.", hint=f"{error.message} {error.hint}"
            ) from error
    return len(found)
