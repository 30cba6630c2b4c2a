"""What must hold once everything has ended, whatever was done to it: journals, effects, index and states compared."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl import query
from durablectl.model.clock import to_rfc3339
from durablectl.model.codec import decode_entry
from durablectl.model.status import TERMINAL
from helpers.index_listing import list_index_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from durablectl.query import StepView, WorkflowView
    from durablectl.storage.connection.store import Store

VOYAGE = ["first", "left", "right", "sleep", "awakeable:approval", "invoke:cargo", "race", "sleep", "racer", "last"]
CARGO = ["load", "sleep", "ship"]
RACE = 6
SIDE_BY_SIDE = {1, 2}
UNDOS = {"voyage": ["undo-1", "undo-2"], "cargo": ["unload"]}


@dataclass(frozen=True)
class Effect:
    """One execution of a step; ``at`` in microseconds."""

    invocation_id: str
    step: str
    token: str
    at: int
    pid: int


def read_effects(path: Path) -> list[Effect]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [Effect(e["id"], e["step"], e["token"], e["at"], e["pid"]) for e in found]


@dataclass(frozen=True)
class Recorded:
    """A result that stood in the journal from ``since`` until a retry dropped it."""

    step: str
    token: str
    since: int
    until: float


def recorded(view: WorkflowView) -> Iterator[Recorded]:
    for step, dropped_at in every_step(view):
        if step.kind in {"step", "compensation"} and step.response is not None:
            yield Recorded(step.step_type, step.response, step.finished_at, dropped_at)


def every_step(view: WorkflowView) -> Iterator[tuple[StepView, float]]:
    """Each entry of the journal and of what retries dropped, and when it was dropped."""
    for step in view.journal or ():
        yield step, math.inf
    for dropped in view.history or ():
        for step in dropped.steps:
            yield step, dropped.dropped_at


def repeated(views: Iterable[WorkflowView], effects: Iterable[Effect]) -> Iterator[str]:
    """Effects that happened while a result of their step was recorded; and recorded results that no effect had."""
    by_step: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        by_step[effect.invocation_id, effect.step].append(effect)
    for view in views:
        for result in recorded(view):
            happened = by_step[view.invocation_id, result.step]
            if result.token not in {effect.token for effect in happened}:
                yield f"{view.invocation_id}: {result.step} is recorded with a result that it never had"
            for effect in happened:
                if effect.token != result.token and result.since < effect.at < result.until:
                    late = (effect.at - result.since) / 1e6
                    yield (
                        f"{view.invocation_id}: {result.step} ran again in {effect.pid}, {late:.3f} s after its result "
                        f"{result.token} was recorded"
                    )


def overwritten(views: Iterable[WorkflowView], seen: dict[str, list[bytes]]) -> Iterator[str]:
    """Results that were in the journal stream at some time, and are neither in the journal nor in its history.

    ``seen`` is every message of the journal stream, by invocation.
    """
    for view in views:
        known = {result.token for result in recorded(view)}
        for data in seen.get(view.invocation_id, ()):
            entry = decode_entry(data)
            if entry.kind in {"step", "compensation"} and entry.response.data:
                token = json.loads(entry.response.data)
                if token not in known and not _is_race_loser(entry.step_type, view):
                    yield (
                        f"{view.invocation_id}: a recorded result of {entry.step_type} is gone: {token} of "
                        f"{to_rfc3339(entry.finished_at)}; retried {[d.reason for d in view.history or ()]}"
                    )


def _is_race_loser(step_type: str, view: WorkflowView) -> bool:
    """A racer that lost may be recorded or not."""
    return step_type == "racer" and view.handler == "voyage"


def illegal_journals(views: Iterable[WorkflowView]) -> Iterator[str]:
    for view in views:
        plan = VOYAGE if view.handler == "voyage" else CARGO
        numbers = {step.step_number: step for step in view.journal or ()}
        steps = {number: step for number, step in numbers.items() if step.kind != "compensation"}
        for number, step in steps.items():
            if number >= len(plan) or step.step_type != plan[number]:
                yield f"{view.invocation_id}: step {number} is {step.step_type}"
        missing = set(range(max(steps, default=-1) + 1)) - set(steps)
        if view.status != "completed":
            # Those side by side with what was recorded were in flight when it ended.
            missing -= SIDE_BY_SIDE if max(steps, default=-1) in SIDE_BY_SIDE else set()
        if view.handler == "voyage":
            missing -= {RACE + 1, RACE + 2}
            if view.status == "cancelled" and max(steps, default=-1) <= RACE + 2:
                missing -= {RACE}
        if missing:
            yield f"{view.invocation_id} ({view.status}): no entry for {sorted(missing)} in {sorted(numbers)}"
        yield from _illegal_end(view, steps, plan)


def _illegal_end(view: WorkflowView, steps: dict[int, StepView], plan: list[str]) -> Iterator[str]:
    undone = [step.step_type for step in view.journal or () if step.kind == "compensation"]
    if view.status == "completed":
        tokens = [step.response for number, step in sorted(steps.items()) if step.kind == "step"]
        shown = view.output["tokens"] if view.handler == "voyage" else view.output
        if not set(shown) <= set(tokens):
            yield f"{view.invocation_id}: its output {shown} is not what its journal holds: {tokens}"
        if len(plan) - 1 not in steps or undone:
            yield f"{view.invocation_id}: completed with steps {sorted(steps)} and compensations {undone}"
    elif view.status == "failed" and view.error_type != "StepError":
        yield f"{view.invocation_id}: failed with {view.error_type}: {view.error}"
    elif view.status == "cancelled" and view.attempt and view.reason != "at once":
        undos = UNDOS[view.handler]
        registered = undos if view.handler == "cargo" or _succeeded(steps.get(0)) else undos[:1]
        if undone != registered[::-1]:
            wanted = registered[::-1]
            yield f"{view.invocation_id}: cancelled ({view.reason!r}) with compensations {undone}, not {wanted}"
        compensated = [step.step_number for step in view.journal or () if step.kind == "compensation"]
        if compensated and compensated[0] <= max(steps, default=-1):
            yield f"{view.invocation_id}: compensations {compensated} begin before the last step {max(steps)}"


def _succeeded(step: StepView | None) -> bool:
    return step is not None and not step.error


def orphans(views: dict[str, WorkflowView]) -> Iterator[str]:
    """Children that completed well after the cancellation of the parent that waited for them, and were not retried."""
    for view in views.values():
        parent = views.get(view.parent_id)
        if parent is None or parent.status != "cancelled" or view.status != "completed":
            continue
        is_current = any(step.awaited_id == view.invocation_id for step in parent.journal or ())
        late = (view.finished_at - parent.finished_at) / 1e6
        if is_current and late > 1 and not view.history:
            yield (
                f"{view.invocation_id} ended at {to_rfc3339(view.finished_at)}, attempt {view.attempt}, {late:.1f} s "
                f"after its parent {parent.invocation_id} was cancelled ({parent.reason!r})"
            )


async def disagreements(store: Store, views: dict[str, WorkflowView]) -> list[str]:
    """Where the index lacks what the states say, or queries are misled.

    An entry too many is allowed: dying between the writes of state and index leaves one, which readers skip.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in await list_index_entries(store):
        groups[entry.invocation_id].append(entry.group)
    found = [
        f"{invocation_id} is {view.status}, the index says {groups.get(invocation_id)}"
        for invocation_id, view in views.items()
        if view.status not in groups[invocation_id]
    ]
    found += [f"{unknown} is in the index only" for unknown in groups.keys() - views.keys()]
    if not found:
        counted = dict((await query.get_stats(store)).by_status)
        expected = dict(Counter(view.status for view in views.values()))
        if counted != expected:
            found.append(f"stats count {counted}, the states say {expected}")
    return found


def not_ended(views: Iterable[WorkflowView]) -> Iterator[str]:
    for view in views:
        if view.status not in TERMINAL:
            yield (
                f"{view.invocation_id} ({view.handler}) is {view.status} ({view.reason}), attempt {view.attempt}, at "
                f"{view.current_step} {view.current_step_type}, owner {view.owner}, waits for {view.waiting_for}"
            )
