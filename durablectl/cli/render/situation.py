"""What a workflow is doing, waiting for, or came to, in one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.cli.render.signs import RETRYING, Sign, spinner, status_sign
from durablectl.cli.render.wording import count, duration, one_line, seconds
from durablectl.model.status import Status

if TYPE_CHECKING:
    from durablectl.query import StepView, WaitingView, WorkflowView


def situation(view: WorkflowView, now: int) -> str:
    """For example ``retrying HelloService.SayHello, attempt 7, next in 12 s: no service answers``."""
    if view.status in _ENDED:
        return _ended(view)
    if view.waiting_for is not None:
        return waiting(view.waiting_for, now)
    if view.status == Status.PENDING:
        return "waiting for a processor to pick it up"
    if view.status == Status.RUNNING:
        return _running(view, now)
    return f"{one_line(view.status)}{f': {one_line(view.reason)}' if view.reason else ''}"


def waiting(reason: WaitingView, now: int) -> str:
    name = one_line(reason.name)
    match reason.kind:
        case "retry":
            return f"retrying {name}, {next_attempt(reason, now)}: {one_line(reason.error)}"
        case "processor":
            return f"waiting: no live processor has registered handler {name}"
        case "takeover":
            return f"waiting: its processor {name} is gone, and no other has taken it over yet"
        case _:
            until = f", for another {seconds(reason.until - now)}" if reason.until else ""
            return f"waiting for {one_line(reason.kind)} {name}".rstrip() + until


def next_attempt(reason: WaitingView, now: int) -> str:
    left = reason.until - now
    return f"attempt {reason.attempt}, next {f'in {seconds(left)}' if left > 0 else 'now'}"


def is_retrying(view: WorkflowView) -> bool:
    return view.waiting_for is not None and view.waiting_for.kind == "retry"


def sign(view: WorkflowView, now: int | None = None) -> Sign:
    """Of its status, or of a retry; with ``now`` (microseconds) a running one moves."""
    if view.status == Status.RUNNING and is_retrying(view):
        return RETRYING
    if view.status == Status.RUNNING and now is not None:
        return spinner(now)
    return status_sign(view.status)


def failure(of: WorkflowView | StepView) -> str:
    """The error with its type, on one line."""
    return one_line(f"{of.error_type}: {of.error}" if of.error_type and of.error else of.error)


def steps_done(view: WorkflowView) -> int:
    """Exact with a journal; without one, what the state record tells."""
    if view.journal is not None:
        return len(view.journal)
    return view.current_step if view.current_step >= 0 else view.total_steps


def has_current(view: WorkflowView) -> bool:
    """Whether the current step is really under way: it stays in the record for a moment after its end."""
    if view.current_step < 0:
        return False
    return all(step.step_number != view.current_step for step in view.journal or ())


_ENDED = {Status.COMPLETED: "in", Status.FAILED: "after", Status.CANCELLED: "after"}


def _ended(view: WorkflowView) -> str:
    known = view.started_at and view.finished_at
    took = f" {_ENDED[Status(view.status)]} {duration(view.finished_at - view.started_at)}" if known else ""
    steps = f", {count(view.total_steps, 'step')}"
    told = failure(view) or one_line(view.reason)
    return f"{view.status}{took}{steps}{f': {told}' if told else ''}"


def _running(view: WorkflowView, now: int) -> str:
    if has_current(view):
        lasted = duration(now - view.updated_at)
        return f"running step {view.current_step} {one_line(view.current_step_type)} for {lasted}"
    done = steps_done(view)
    return f"running, {count(done, 'step')} done" if done else "running"
