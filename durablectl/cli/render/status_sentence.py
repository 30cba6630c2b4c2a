"""What a workflow is doing, waiting for, or came to, in one plain sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from durablectl.cli.render.formatting import count, countdown, duration, elapsed, one_line
from durablectl.cli.render.symbols import RETRYING, Symbol, spinner, status_symbol
from durablectl.model.kinds import WaitKind
from durablectl.model.operation_kinds import OPERATION_KINDS
from durablectl.model.reason_codes import CANCELLATIONS
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from durablectl.query import StepView, WaitingView, WorkflowView


_STEP_PREFIXES = re.compile(
    r"(?:Step \d+ (?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\") failed(?: at its first attempt| after \d+ attempts)?: )*"
)
"""What the error of a child begins with where a step of the child failed: cut off for display only."""


def status_sentence(view: WorkflowView, now: int) -> str:
    """For example ``retrying: no service answers (HelloService.SayHello, attempt 7 failed, next in 12 s)``."""
    if view.status in _ENDED:
        told = error_text(view) or one_line(view.reason)
        return f"{end_sentence(view)}: {told}" if told else end_sentence(view)
    if view.waiting_for is not None and view.status != Status.PAUSED and not is_cancelling(view):
        return wait_sentence(view.waiting_for, now)
    if view.status == Status.PENDING:
        return "waiting for a processor to pick it up"
    if view.status == Status.RUNNING:
        return _cancelling(view, now) if is_cancelling(view) else _running(view, now)
    return _standing(view)


def wait_sentence(reason: WaitingView, now: int) -> str:
    name = one_line(reason.name)
    match reason.kind:
        case WaitKind.RETRY:
            return f"retrying: {retry_cause(reason, now)}"
        case WaitKind.PROCESSOR:
            return f"waiting: no live processor has registered handler {name}"
        case WaitKind.TAKEOVER:
            return f"waiting: its processor {name} is gone, and no other has taken it over yet"
        case WaitKind.SLEEP:
            return f"sleeping, wakes in {countdown(reason.until - now)}"
        case WaitKind.START:
            return f"starts in {countdown(reason.until - now)}"
        case _:
            kind = OPERATION_KINDS.get(reason.kind)
            what = one_line((kind and kind.awaited) or reason.kind)
            most = f", at most another {countdown(reason.until - now)}" if reason.until else ""
            which = f" {one_line(reason.awaited_id)}" if reason.kind == WaitKind.CHILD and reason.awaited_id else ""
            return f"waiting for {what} {name.partition(':')[2] or name}{which}{most}"


def answer_command(view: WorkflowView) -> str:
    """The command that ends the wait, or shows more of it; empty where there is none."""
    reason = view.waiting_for
    if reason is None or is_terminal(view.status):
        return ""
    match reason.kind:
        case WaitKind.AWAKEABLE if reason.awaited_id:
            return f"durablectl wf resolve {one_line(reason.awaited_id)} --data JSON"
        case WaitKind.SIGNAL:
            name = one_line(reason.name)
            return f"durablectl wf signal {one_line(view.invocation_id)} {name.partition(':')[2] or name} --data JSON"
        case WaitKind.CHILD if reason.awaited_id:
            return f"durablectl wf get {one_line(reason.awaited_id)}"
    return ""


def is_cancelling(view: WorkflowView) -> bool:
    """It runs its compensations, or waits for a processor to do so."""
    return view.status == Status.RUNNING and view.reason_code in CANCELLATIONS


def next_attempt(reason: WaitingView, now: int) -> str:
    left = reason.until - now
    return f"attempt {reason.attempt} failed, next {f'in {countdown(left)}' if left > 0 else 'now'}"


def retry_cause(reason: WaitingView, now: int) -> str:
    """Why an attempt failed, then of what, and when the next one is: what is cut off at the end matters least."""
    return f"{one_line(reason.error)} ({one_line(reason.name)}, {next_attempt(reason, now)})"


def is_retrying(view: WorkflowView) -> bool:
    return view.waiting_for is not None and view.waiting_for.kind == WaitKind.RETRY


def is_orphaned(view: WorkflowView) -> bool:
    return view.waiting_for is not None and view.waiting_for.kind == WaitKind.TAKEOVER


def workflow_symbol(view: WorkflowView, now: int | None = None) -> Symbol:
    """Of its status, or of a retry; with ``now`` (microseconds) a running one moves."""
    if view.status in {Status.RUNNING, Status.SUSPENDED} and is_retrying(view):
        return RETRYING
    if is_orphaned(view):
        return status_symbol(Status.PENDING)
    if view.status == Status.RUNNING and now is not None:
        return spinner(now)
    return status_symbol(view.status)


def error_text(of: WorkflowView | StepView) -> str:
    """The error with its type, on one line; of a failed step the cause first: ``card declined (step 0, 1 try)``."""
    failed = getattr(of, "failed_step", None)
    if failed is not None and 0 < failed.message_at <= len(of.error):
        cause = of.error[failed.message_at :]
        inner = _STEP_PREFIXES.match(cause)
        attempts = getattr(of, "failed_attempts", 0)
        tries = f", {attempts:,} {'try' if attempts == 1 else 'tries'}" if attempts else ""
        below = ", in a child" if inner is not None and inner.end() else ""
        cause = cause[inner.end() :] if inner is not None else cause
        return one_line(f"{cause or failed.step_type} (step {failed.step_number}{tries}{below})")
    typed = of.error and of.error_type and of.error_type != "StepError"
    return one_line(f"{of.error_type}: {of.error}" if typed else of.error)


def is_open(step: StepView) -> bool:
    """A wait is journaled when it begins; other implementations write no times at all."""
    return bool(step.started_at) and not step.finished_at and not step.error


def steps_done(view: WorkflowView) -> int:
    """Exact with a journal (with a part, but for waits it leaves out); without one, what the state record tells."""
    if view.journal is not None:
        return max(view.journal_length, len(view.journal)) - sum(is_open(step) for step in view.journal)
    return view.current_step if view.current_step >= 0 else view.total_steps


def has_current(view: WorkflowView) -> bool:
    """Whether the current step is really under way: it stays in the record for a moment after its end."""
    if view.current_step < 0:
        return False
    return all(step.step_number != view.current_step or is_open(step) for step in view.journal or ())


_ENDED = {Status.COMPLETED: "in", Status.FAILED: "after", Status.CANCELLED: "after"}


def end_sentence(view: WorkflowView) -> str:
    """``completed in 3.2 s, 3 steps``."""
    known = view.started_at and view.finished_at
    took = f" {_ENDED[Status(view.status)]} {duration(view.finished_at - view.started_at)}" if known else ""
    return f"{view.status}{took}, {count(view.total_steps, 'step')}"


def progress_sentence(view: WorkflowView, now: int) -> str:
    """``running for 2.3 s, 2 steps done``: the whole of it, where the step under way is told elsewhere."""
    waits = view.waiting_for is not None and not is_retrying(view)
    if view.status != Status.RUNNING or waits or is_cancelling(view):
        return status_sentence(view, now)
    lasted = f" for {elapsed(now - view.started_at)}" if view.started_at else ""
    return f"{'retrying' if is_retrying(view) else 'running'}{lasted}, {count(steps_done(view), 'step')} done"


def _standing(view: WorkflowView) -> str:
    told = f"{one_line(view.status)}{f': {one_line(view.reason)}' if view.reason else ''}"
    if view.status != Status.PAUSED or not (view.owner and has_current(view)):
        return told
    return f"{told} (step {view.current_step} {one_line(view.current_step_type)} is in flight and ends first)"


def _cancelling(view: WorkflowView, now: int) -> str:
    told = one_line(view.reason)
    if not view.owner:
        return f"{told}, once a processor picks it up"
    if is_orphaned(view) and view.waiting_for is not None:
        return f"{told}, {wait_sentence(view.waiting_for, now)}"
    if has_current(view):
        return f"{told}, running step {view.current_step} {one_line(view.current_step_type)}"
    return told


def _running(view: WorkflowView, now: int) -> str:
    if has_current(view):
        lasted = elapsed(now - view.updated_at)
        return f"running step {view.current_step} {one_line(view.current_step_type)} for {lasted}"
    done = steps_done(view)
    return f"running, {count(done, 'step')} done" if done else "running"
