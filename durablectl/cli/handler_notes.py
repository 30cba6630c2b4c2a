"""Telling of a handler that there is none of that name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from durablectl.cli.terminal.output import note
from durablectl.model.text import did_you_mean

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


async def note_unknown_handlers(store: Store, names: Iterable[str]) -> None:
    """Of each handler that neither a workflow nor a live processor has; for a command that found nothing."""
    asked = sorted(names)
    if not asked:
        return
    from durablectl.storage.index import index_entries
    from durablectl.storage.records import leases

    live = {name for lease in await leases.live_processors(store) for name in lease.handlers}
    known = sorted({*await index_entries.list_handlers(store), *live})
    for name in asked:
        if name not in known:
            note(unknown_handler(name, known))


def unknown_handler(name: str, known: Sequence[str]) -> str:
    return with_guess(f"No workflow and no live processor has the handler {name!r}.", name, known, "There are")


def with_guess(told: str, name: str, known: Sequence[str], listed: str) -> str:
    """A sentence, and the one of ``known`` that may have been meant, or all of them behind the word ``listed``."""
    if guess := did_you_mean(name, known):
        return f"{told} {guess.rstrip()}"
    return f"{told} {listed}: {', '.join(known)}." if known else told
