"""Why a workflow is as it is: rules over its view, the processors that live, and what it waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from durablectl.errors import NotFoundError
from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.filters import Filters
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.operation_kinds import WAITS
from durablectl.model.reason_codes import CANCELLATIONS, NEVER_RETRIED, ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.query.get import get_workflow
from durablectl.query.list import count_workflows
from durablectl.query.processors import live_processors
from durablectl.query.room import get_full_store
from durablectl.query.typical_steps import find_usual_durations
from durablectl.storage.diagnosis.consumers import find_consumer_faults
from durablectl.storage.diagnosis.inspection import waiting_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from durablectl.query.views import ProcessorView, StepView, WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.room import FullStore

LATE_MICROSECONDS = 5 * MICROSECONDS
"""How long a processor with room may take to begin what is due: a takeover is over by then, too."""

HUNG_FACTOR = 10
"""A step that lasts so many times as long as it usually does is hung."""
HUNG_LEAST_MICROSECONDS = 30 * MICROSECONDS
"""No shorter step is hung."""
HUNG_UNKNOWN_MICROSECONDS = 10 * 60 * MICROSECONDS
"""A step of which no completed run tells the usual time is hung after this long."""

_LAST_STEPS = (-50, None)
_DEEPEST = 5
_GIVEN_UP = frozenset({ReasonCode.HANDLER_STUCK, ReasonCode.ENGINE_FAILED, ReasonCode.UNREADABLE, ReasonCode.TOO_LARGE})


class StatusCause(StrEnum):
    """The cause of a status; a word for scripts."""

    COMPLETED = "completed"
    STEP_FAILED = "step_failed"
    CODE_FAILED = "code_failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    CANCELLED_WITH_PARENT = "cancelled_with_parent"
    CANCELLING = "cancelling"
    PAUSED = "paused"
    MISMATCH = "mismatch"
    CRASHING = "crashing"
    PAUSED_BY_ENGINE = "paused_by_engine"
    NO_PROCESSOR = "no_processor"
    DELAYED = "delayed"
    BUSY = "busy"
    BLOCKED = "blocked"
    STARTING = "starting"
    STUCK = "stuck"
    ORPHANED = "orphaned"
    RETRYING = "retrying"
    RUNNING = "running"
    HUNG = "hung"
    UNATTENDED = "unattended"
    WAITING = "waiting"
    OTHER = "other"


@dataclass(frozen=True)
class LiveContext:
    """What the record does not say.

    ``pending_before`` counts the older pending workflows of its handler. ``child`` explains the child that it waits for
    or failed with. ``usual`` is how long the steps of its handler usually last (microseconds), by type. ``hung_after``
    (microseconds) replaces the rules for hung steps; 0 for none. ``consumer_faults`` say what keeps the commands of a
    stuck workflow's handler from the processors.
    """

    processors: Sequence[ProcessorView] = ()
    pending_before: int = 0
    child: StatusExplanation | None = None
    usual: Mapping[str, int] = field(default_factory=dict)
    hung_after: int = 0
    full_store: FullStore | None = None
    consumer_faults: Sequence[str] = ()


@dataclass(frozen=True)
class StatusExplanation:
    """Why a workflow has its status.

    ``step`` is the one that failed, is retried, waits or is recorded otherwise; the slowest of a completed workflow.
    ``live.processors`` are all live ones; ``serving_processors`` are those that have its handler.
    """

    cause: StatusCause
    view: WorkflowView
    live: LiveContext
    step: StepView | None = None

    @property
    def serving_processors(self) -> list[ProcessorView]:
        return serving_processors(self.view, self.live.processors)

    @property
    def blocked_processors(self) -> list[ProcessorView]:
        return blocked_processors(self.view, self.live.processors)

    @property
    def open_waits(self) -> list[StepView]:
        return open_waits(self.view)

    @property
    def is_final(self) -> bool:
        """Whether the step's error says that another attempt would fail in the same way."""
        return self.step is not None and is_final(self.step)

    @property
    def due_since(self) -> int:
        return due_since(self.view)


def serving_processors(view: WorkflowView, processors: Sequence[ProcessorView]) -> list[ProcessorView]:
    return [each for each in processors if each.runs(view.handler)]


def blocked_processors(view: WorkflowView, processors: Sequence[ProcessorView]) -> list[ProcessorView]:
    """The processors whose blocked event loops keep the workflow from moving.

    That is its own while it runs; else all that have its handler and room for it, where all of these are blocked.
    """
    if view.status == Status.RUNNING:
        return [each for each in processors if each.processor_id == view.owner and each.blocked_since]
    able = [each for each in serving_processors(view, processors) if each.busy < each.slots]
    return able if all(each.blocked_since for each in able) else []


def is_final(step: StepView) -> bool:
    return step.reason_code in NEVER_RETRIED


def open_waits(view: WorkflowView) -> list[StepView]:
    return [step for step in view.journal or () if step.kind in WAITS and step.started_at and not step.finished_at]


def explain_view(view: WorkflowView, live: LiveContext, now: int) -> StatusExplanation:
    """Apply the rules; ``now`` in microseconds. The view has its journal, or the part of it that matters."""
    cause, step = _find_cause(view, live, now)
    return StatusExplanation(cause, view, live, step)


def _find_cause(view: WorkflowView, live: LiveContext, now: int) -> tuple[StatusCause, StepView | None]:
    found: tuple[StatusCause, StepView | None] = StatusCause.OTHER, None
    match view.status:
        case Status.COMPLETED:
            found = StatusCause.COMPLETED, _slowest_step(view)
        case Status.FAILED:
            found = _failed_cause(view)
        case Status.CANCELLED:
            with_parent = view.reason_code == ReasonCode.CANCELLED_WITH_PARENT
            found = (StatusCause.CANCELLED_WITH_PARENT if with_parent else StatusCause.CANCELLED), None
        case Status.PAUSED:
            found = _paused_cause(view)
        case Status.PENDING:
            found = _pending_cause(view, live, now), None
        case Status.RUNNING | Status.SUSPENDED:
            found = _active_cause(view, live, now)
    return found


def _failed_cause(view: WorkflowView) -> tuple[StatusCause, StepView | None]:
    if view.reason_code == ReasonCode.TIMED_OUT:
        waits = open_waits(view)
        return StatusCause.TIMED_OUT, waits[0] if waits else None
    step = failed_step(view)
    return (StatusCause.CODE_FAILED if step is None else StatusCause.STEP_FAILED), step


def failed_step(view: WorkflowView) -> StepView | None:
    """The step whose error the workflow ended with; None when its own code failed."""
    failed = view.failed_step
    return None if failed is None else _find_step(view, failed.step_number)


def _find_step(view: WorkflowView, number: int) -> StepView | None:
    return next((step for step in view.journal or () if step.step_number == number), None)


def _paused_cause(view: WorkflowView) -> tuple[StatusCause, StepView | None]:
    if view.reason_code == ReasonCode.MISMATCH:
        return StatusCause.MISMATCH, None if view.mismatch is None else _find_step(view, view.mismatch.step_number)
    if view.reason_code == ReasonCode.CRASHED_PROCESSOR:
        return StatusCause.CRASHING, view.journal[-1] if view.journal else None
    if view.reason_code in _GIVEN_UP:
        return StatusCause.PAUSED_BY_ENGINE, None
    return StatusCause.PAUSED, None


def _pending_cause(view: WorkflowView, live: LiveContext, now: int) -> StatusCause:
    if view.waiting_for is not None and view.waiting_for.kind == WaitKind.START and view.waiting_for.until > now:
        return StatusCause.DELAYED
    unclaimed = _unclaimed_cause(view, live)
    return (
        StatusCause.STARTING
        if unclaimed is StatusCause.STUCK and now - due_since(view) <= LATE_MICROSECONDS
        else unclaimed
    )


def _unclaimed_cause(view: WorkflowView, live: LiveContext) -> StatusCause:
    """Why no processor has taken up what is due."""
    able = serving_processors(view, live.processors)
    if not able:
        return StatusCause.NO_PROCESSOR
    if blocked_processors(view, live.processors):
        return StatusCause.BLOCKED
    return StatusCause.STUCK if any(each.busy < each.slots for each in able) else StatusCause.BUSY


def due_since(view: WorkflowView) -> int:
    """Since when (microseconds) a processor could have taken up what is pending or suspended; 0 if only news can."""
    until = view.waiting_for.until if view.waiting_for is not None else 0
    if view.status == Status.SUSPENDED:
        return until
    return max(view.updated_at or view.created_at, until)


def _active_cause(view: WorkflowView, live: LiveContext, now: int) -> tuple[StatusCause, StepView | None]:
    waits = view.waiting_for
    number = view.current_step if waits is None else waits.step_number
    step = _find_step(view, number)
    if waits is not None and waits.kind == WaitKind.TAKEOVER:
        return StatusCause.ORPHANED, step
    if view.status == Status.SUSPENDED and 0 < due_since(view) < now - LATE_MICROSECONDS:
        return _unclaimed_cause(view, live), step
    if is_unattended(view, live, now):
        return StatusCause.UNATTENDED, step
    return _claimed_cause(view, live, now), step


def _claimed_cause(view: WorkflowView, live: LiveContext, now: int) -> StatusCause:
    """Of what a processor runs, or what waits for something that has not come."""
    waits = view.waiting_for
    if view.status == Status.RUNNING and blocked_processors(view, live.processors):
        return StatusCause.BLOCKED
    if view.reason_code in CANCELLATIONS:
        return StatusCause.CANCELLING
    if waits is not None and waits.kind == WaitKind.RETRY:
        return StatusCause.RETRYING
    if view.status != Status.RUNNING or waits is not None:
        return StatusCause.WAITING
    return StatusCause.HUNG if is_hung(view, live, now) else StatusCause.RUNNING


def is_unattended(view: WorkflowView, live: LiveContext, now: int) -> bool:
    """Whether its processor lives, and says that it does not run it."""
    if view.status != Status.RUNNING or now - view.updated_at <= LATE_MICROSECONDS:
        return False
    return any(each.processor_id == view.owner and each.holds(view.invocation_id) is False for each in live.processors)


def is_hung(view: WorkflowView, live: LiveContext, now: int) -> bool:
    """Whether its step lasts far longer than usual: nothing was written since it began."""
    return now - view.updated_at > hung_limit(view, live)


def hung_limit(view: WorkflowView, live: LiveContext) -> int:
    """After how many microseconds its step counts as hung."""
    if live.hung_after:
        return live.hung_after
    usual = live.usual.get(view.current_step_type, 0)
    return max(HUNG_LEAST_MICROSECONDS, HUNG_FACTOR * usual) if usual else HUNG_UNKNOWN_MICROSECONDS


def _slowest_step(view: WorkflowView) -> StepView | None:
    timed = [step for step in view.journal or () if step.started_at and step.finished_at]
    return max(timed, key=lambda step: step.finished_at - step.started_at, default=None)


async def explain_workflow(store: Store, invocation_id: str, *, hung_after: int = 0) -> StatusExplanation:
    """Why the workflow is as it is, and why the child is that it waits for or failed with.

    ``hung_after`` (microseconds) says from when on a step counts as hung; 0 for far longer than it usually lasts.

    Raises NotFoundError; NotProvisionedError on a server that holds no workflows.
    """
    return await _explain_to_depth(store, invocation_id, 0, hung_after)


async def _explain_to_depth(store: Store, invocation_id: str, depth: int, hung_after: int) -> StatusExplanation:
    view = await _read(store, invocation_id)
    processors, pending_before, child = await asyncio.gather(
        live_processors(store),
        _count_pending_before(store, view),
        _explain_awaited_child(store, view, depth, hung_after),
    )
    usual = await _usual_durations(store, view)
    full = None if processors or is_terminal(view.status) or depth else await get_full_store(store)
    live = LiveContext(processors, pending_before, child, usual=usual, hung_after=hung_after, full_store=full)
    explanation = explain_view(view, live, SYSTEM_CLOCK.now())
    if explanation.cause is not StatusCause.STUCK:
        return explanation
    return replace(explanation, live=replace(live, consumer_faults=await find_consumer_faults(store, view.handler)))


async def _usual_durations(store: Store, view: WorkflowView) -> Mapping[str, int]:
    """How long the steps of its handler usually last, where that decides whether it hangs."""
    is_slow = SYSTEM_CLOCK.now() - view.updated_at > HUNG_LEAST_MICROSECONDS
    if view.status != Status.RUNNING or view.waiting_for is not None or not is_slow:
        return {}
    return (await find_usual_durations(store, [view.handler])).get(view.handler, {})


async def _read(store: Store, invocation_id: str) -> WorkflowView:
    """With the part of a long journal that matters: all for the slowest step, that which failed, or the last ones."""
    view = await get_workflow(store, invocation_id, steps=_LAST_STEPS)
    if len(view.journal or ()) == view.journal_length:
        return view
    if view.status == Status.COMPLETED:
        return await get_workflow(store, invocation_id)
    known = view.mismatch or view.failed_step
    if known is not None and known.step_number < view.journal_start:
        return await get_workflow(store, invocation_id, steps=(known.step_number, None))
    return view


async def _count_pending_before(store: Store, view: WorkflowView) -> int:
    """The pending ones of its handler that are older, of those whose commands wait to be taken."""
    if view.status != Status.PENDING or not view.updated_at:
        return 0
    older = Filters(frozenset({Status.PENDING}), frozenset({view.handler}), until=view.updated_at)
    waiting, before = await asyncio.gather(waiting_commands(store, [view.handler]), count_workflows(store, older))
    return min(before, max(0, waiting.get(view.handler, 0) - 1))


async def _explain_awaited_child(
    store: Store, view: WorkflowView, depth: int, hung_after: int
) -> StatusExplanation | None:
    """None where there is none, it is gone, or the line of children is longer than anyone reads."""
    awaited = ""
    if view.waiting_for is not None and view.waiting_for.kind == WaitKind.CHILD:
        awaited = view.waiting_for.awaited_id
    elif view.status == Status.FAILED:
        step = failed_step(view)
        awaited = step.awaited_id if step is not None and step.kind == StepKind.CHILD else ""
    if not awaited or depth >= _DEEPEST:
        return None
    try:
        return await _explain_to_depth(store, awaited, depth + 1, hung_after)
    except NotFoundError:
        return None
