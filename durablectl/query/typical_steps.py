"""How many steps a run of a handler usually has, and how long they last, by those that completed last."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from statistics import median_low
from typing import TYPE_CHECKING

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.filters import Filters
from durablectl.model.status import Status, is_terminal
from durablectl.query.index_rows import Plan, count_indexed, first_rows
from durablectl.storage.index.time_buckets import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query.index_rows import IndexRow
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

_RUNS = 5
_TIMED_RUNS = 20
_MOST_HANDLERS = 10
_RECENT = 86_400 * MICROSECONDS
"""Those that completed in this time are found without counting all, which takes the server long where many have."""
_DIFFERENCE = 0.2
"""By more than this share of its middle length, the runs of a handler are too different to tell one's progress."""


async def find_typical_steps(store: Store, workflows: Sequence[WorkflowView]) -> dict[str, int]:
    """By handler, of those workflows that have not ended; of many handlers, the most frequent ones.

    A handler that has no completed run, or whose last runs differ widely, is left out.
    """
    active = Counter(view.handler for view in workflows if not is_terminal(view.status) and view.started_at)
    handlers = [handler for handler, _ in active.most_common(_MOST_HANDLERS)]
    lengths = await asyncio.gather(*(_last_lengths(store, handler) for handler in handlers))
    typical = {handler: _typical_length(each) for handler, each in zip(handlers, lengths, strict=True)}
    return {handler: steps for handler, steps in typical.items() if steps}


async def find_usual_durations(store: Store, handlers: Sequence[str]) -> dict[str, dict[str, int]]:
    """By handler and step type, how long the slowest one of the last completed runs took (microseconds)."""
    runs = await asyncio.gather(*(_last_runs(store, handler, _TIMED_RUNS) for handler in handlers))
    found: dict[str, dict[str, int]] = {}
    for handler, rows in zip(handlers, runs, strict=True):
        longest = found.setdefault(handler, {})
        for entry in (entry for row in rows for entry in row.execution.journal):
            if entry.started_at and entry.finished_at:
                took = max(1, entry.finished_at - entry.started_at)
                longest[entry.step_type] = max(longest.get(entry.step_type, 0), took)
    return found


async def _last_lengths(store: Store, handler: str) -> list[int]:
    rows = await _last_runs(store, handler, _RUNS)
    return [max(row.execution.total_steps, len(row.execution.journal)) for row in rows]


async def _last_runs(store: Store, handler: str, number: int) -> list[IndexRow]:
    completed = Filters(frozenset({Status.COMPLETED}), frozenset({handler}))
    recent = replace(completed, since=SYSTEM_CLOCK.now() - _RECENT)
    plan = Plan(Scope((Status.COMPLETED,), (handler,)))
    rows = await first_rows(store, recent, plan, number, total=0)
    if len(rows) < number:
        rows = await first_rows(store, completed, plan, number, total=await count_indexed(store, completed, plan))
    return rows[:number]


def _typical_length(lengths: Sequence[int]) -> int:
    """0 for runs that differ widely, and for none."""
    if not lengths:
        return 0
    middle = median_low(lengths)
    return middle if max(lengths) - min(lengths) <= max(1, _DIFFERENCE * middle) else 0
