"""Whether an answer or a signal may be meant for something else: what the workflow waits for instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.incoming import Target, looks_misdirected
from durablectl.model.kinds import StepKind
from durablectl.model.names import invocation_of_awakeable, validate_name
from durablectl.model.status import is_terminal
from durablectl.storage.records import journal
from durablectl.storage.records.consistent_reads import load_confirmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store


async def awaited_instead_of_answer(store: Store, awakeable_id: str) -> Sequence[Target]:
    """What the workflow waits for, where it has never asked for this awakeable; nothing where it may be right.

    Raises InvalidNameError.
    """
    return await _awaited_instead(
        store, invocation_of_awakeable(awakeable_id), Target(StepKind.AWAKEABLE, awakeable_id)
    )


async def awaited_instead_of_signal(store: Store, invocation_id: str, name: str) -> Sequence[Target]:
    """What the workflow waits for, where it has never asked for this signal; nothing where it may be right.

    Raises InvalidNameError.
    """
    validate_name("signal name", name)
    validate_name("invocation id", invocation_id)
    return await _awaited_instead(store, invocation_id, Target(StepKind.SIGNAL, name))


async def _awaited_instead(store: Store, invocation_id: str, target: Target) -> Sequence[Target]:
    stored = await load_confirmed(store, invocation_id)
    if stored is None or is_terminal(stored.execution.status):
        return ()  # sending says what is wrong
    execution, now = stored.execution, SYSTEM_CLOCK.now()
    if not looks_misdirected(execution, (), target, now):
        return ()
    return looks_misdirected(execution, await journal.load_journal(store, execution), target, now)
