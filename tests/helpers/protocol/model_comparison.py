"""What the model and the stored world have in common, in the same words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import JournalEntry
    from helpers.protocol.world import Entry, World


def recorded(entry: JournalEntry) -> tuple[int, str, bool]:
    value = entry.error or (json.loads(entry.response.data) if entry.response.data else "")
    return entry.step_number, value, bool(entry.finished_at)


def expected(world: World) -> dict[str, Any]:
    """The same of the model's world."""
    state = world.state

    def plain(entries: Iterable[Entry]) -> list[tuple[int, str, bool]]:
        return sorted((entry.number, entry.value, entry.done) for entry in entries)

    return {
        "journal": plain(world.journal),
        "index": sorted(marker.group for marker in world.index),
        "timers": sorted(world.timers),
        "commands": len(world.commands),
        "is entered": state is not None and state.marker in world.index,
        "state": state
        and {
            "status": state.status,
            "owner": state.owner,
            "attempt": state.attempt,
            "group": state.marker.group,
            "left": [marker.group for marker in state.left],
            "cancel": state.cancel,
            "answered": state.answered,
            "inlined": plain(state.inlined),
            "has_stream_journal": state.has_stream_journal,
            "retries": state.retries,
            "output": list(state.output),
        },
    }


def label(asked: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a real actor would ask for the same operation."""
    name, *arguments = asked
    match name:
        case "write" | "append":
            return name, arguments[0].status if name == "write" else arguments[0].number
        case "enter" | "leave":
            return name, arguments[0].group
        case "run" | "purge" | "publish" | "timer" | "stop_timer" | "alive":
            return name, arguments[0]
        case _:
            return (name,)
