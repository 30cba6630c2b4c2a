"""Notes on standard error about a handler that no workflow or no live processor has."""

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
    return _with_guess(f"No workflow and no live processor has the handler {name!r}.", name, known, "There are")


async def note_unserved_handler(store: Store, handler: str) -> None:
    """Tell of a handler that no live processor has registered, on standard error."""
    from durablectl import query

    known = sorted({name for processor in await query.live_processors(store) for name in processor.handlers})
    if handler not in known:
        note(unserved_handler(handler, known))


def unserved_handler(handler: str, known: Iterable[str]) -> str:
    """What to tell of a start that waits for a processor; ``known`` is what the live ones have registered."""
    known = list(known)
    told = f"No live processor has registered the handler {handler!r}; the workflow waits until one does."
    if not known:
        return f"{told} There is no live processor at all."
    return _with_guess(told, handler, known, "Registered are")


def _with_guess(told: str, name: str, known: Sequence[str], listed: str) -> str:
    """A sentence, and the one of ``known`` that may have been meant, or all of them behind the word ``listed``."""
    if guess := did_you_mean(name, known):
        return f"{told} {guess.rstrip()}"
    return f"{told} {listed}: {', '.join(known)}." if known else told
