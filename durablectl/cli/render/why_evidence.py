"""The facts behind a reason, each with its time, and the commands that mend it or show more."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.cli.render.formatting import count, one_line
from durablectl.cli.render.status_sentence import answer_command, error_text, has_current
from durablectl.model.clock import to_rfc3339
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.query import StatusCause

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.query import ProcessorView, StatusExplanation, StepView, WorkflowView

_MOST = 5
_APP = ("run", "processor", "APP")
_AT_A_STEP = frozenset({StatusCause.RUNNING, StatusCause.HUNG, StatusCause.BLOCKED})
_PAUSED_BY_ENGINE: dict[str, tuple[str, str]] = {
    ReasonCode.HANDLER_STUCK: ("how far it came", "once its code is corrected"),
    ReasonCode.ENGINE_FAILED: ("the traceback", "once the cause is corrected: five more deliveries"),
    ReasonCode.UNREADABLE: ("what of it can be read", "once the damaged entry is restored"),
    ReasonCode.TOO_LARGE: ("what takes the room", "once the server allows larger messages (max_payload)"),
}
"""What ``wf get`` shows of a pause that the engine began, and when ``wf resume`` helps."""


class Fact(NamedTuple):
    """``at`` in microseconds."""

    at: int
    text: str

    def to_json(self) -> dict[str, Any]:
        return {"at": to_rfc3339(self.at), "fact": self.text}


class Remedy(NamedTuple):
    """A command line that can be pasted, but for words in capitals, and what it is for."""

    command: str
    purpose: str

    def to_json(self) -> dict[str, Any]:
        return {"command": self.command, "purpose": self.purpose}


def step_name(step: StepView) -> str:
    return f"step {step.step_number} {one_line(step.step_type)}"


def evidence(explanation: StatusExplanation, now: int) -> list[Fact]:
    """In the order of their times; what is so now comes last."""
    found = [*_past(explanation), *(Fact(now, text) for text in _present(explanation))]
    if explanation.live.child is not None:
        found += [Fact(at, f"child: {text}") for at, text in evidence(explanation.live.child, now)]
    return sorted(dict.fromkeys(fact for fact in found if fact.at), key=lambda fact: fact.at)


def _past(explanation: StatusExplanation) -> Iterator[Fact]:
    view = explanation.view
    yield Fact(view.created_at, "it was started" + (f" by {one_line(view.parent_id)}" if view.parent_id else ""))
    yield Fact(view.started_at, "a processor took it up for the first time")
    yield from (Fact(dropped.dropped_at, f"it was {one_line(dropped.reason)}") for dropped in view.history or ())
    for each in explanation.open_waits[:_MOST]:
        yield Fact(each.started_at, f"{step_name(each)} began to wait")
    yield from _of_steps(explanation)
    if explanation.cause in {StatusCause.MISMATCH, StatusCause.CRASHING, StatusCause.ORPHANED}:
        for processor in explanation.serving_processors[:_MOST]:
            version = f", version {one_line(processor.version)}," if processor.version else ""
            who = f"the processor {one_line(processor.processor_id)}{version}"
            yield Fact(processor.started_at, f"{who} came up with its handler")
    if explanation.cause is StatusCause.BLOCKED:
        for processor in explanation.blocked_processors[:_MOST]:
            loop = f"the event loop of {one_line(processor.processor_id)}"
            yield Fact(processor.blocked_since, f"{loop} was blocked by {one_line(processor.blocked_by)}")
    if sentence := _last_change(explanation):
        yield Fact(view.finished_at or view.updated_at, sentence)


def _last_change(explanation: StatusExplanation) -> str:
    """What its last change was, at ``updated_at``; empty where other facts say so."""
    view, waits = explanation.view, explanation.view.waiting_for
    current = f"step {view.current_step} {one_line(view.current_step_type)}"
    sentence = ""
    if is_terminal(view.status):
        place = _last_place(view) if explanation.cause is StatusCause.CODE_FAILED else ""
        sentence = f"it ended as {view.status}{f', raised in {place}' if place else ''}"
    elif view.status == Status.PAUSED:
        sentence = "it was paused"
    elif view.status == Status.PENDING:
        sentence = "it became pending again" if view.updated_at > view.created_at else ""
    elif explanation.cause is StatusCause.RETRYING and waits is not None:
        sentence = f"step {waits.step_number}: attempt {waits.attempt} failed: {one_line(waits.error)}"
    elif view.status == Status.RUNNING and explanation.cause in _AT_A_STEP and has_current(view):
        sentence = f"{current} was under way{f' on {one_line(view.owner)}' if view.owner else ''}"
    elif explanation.cause in {StatusCause.ORPHANED, StatusCause.CANCELLING, StatusCause.UNATTENDED}:
        sentence = f"its record was written last{f', at {current}' if view.current_step >= 0 else ''}"
    return sentence


def _of_steps(explanation: StatusExplanation) -> Iterator[Fact]:
    view, step = explanation.view, explanation.step
    steps = view.journal or ()
    if view.status == Status.CANCELLED:
        yield from _of_cancelling(steps)
    elif step is not None and explanation.cause is StatusCause.COMPLETED:
        yield Fact(step.started_at, f"{step_name(step)} began, the slowest step")
        yield Fact(step.finished_at, f"{step_name(step)} ended")
    elif step is not None and explanation.cause is StatusCause.STEP_FAILED:
        yield Fact(step.started_at, f"{step_name(step)} began")
        yield Fact(step.finished_at, f"{step_name(step)} failed for good{_rule(step, is_final=explanation.is_final)}")
    elif step is not None and explanation.cause is StatusCause.MISMATCH:
        name = f"the {one_line(step.kind or 'step')} {one_line(step.step_type)!r}"
        yield Fact(step.finished_at or step.started_at, f"step {step.step_number} was recorded as {name}")
    elif done := [each for each in steps if each.finished_at]:
        last = max(done, key=lambda each: each.finished_at)
        yield Fact(last.finished_at, f"{step_name(last)} {f'failed: {error_text(last)}' if last.error else 'ended'}")


def _of_cancelling(steps: Sequence[StepView]) -> Iterator[Fact]:
    for each in [each for each in steps if each.reason_code == ReasonCode.INTERRUPTED][:_MOST]:
        yield Fact(each.finished_at, f"{step_name(each)} was interrupted")
    undone = [each for each in steps if each.kind == StepKind.COMPENSATION]
    if undone:
        failed = sum(bool(each.error) for each in undone)
        sentence = f"{count(len(undone), 'compensation')} had run{f', of which {failed:,} failed' if failed else ''}"
        yield Fact(max(each.finished_at for each in undone), sentence)


def _rule(step: StepView, *, is_final: bool) -> str:
    """Whether it could have been tried again."""
    if not step.attempts:
        return ""
    if is_final:
        return f": {one_line(step.error_type)} is an error that is not tried again"
    if step.attempts > 1:
        return f": its retry rule allows {step.attempts} attempts"
    return ": its retry rule, or the kind of error, allows no second attempt"


def _last_place(view: WorkflowView) -> str:
    """``shop.py, line 7, in checkout``, from the traceback."""
    places = [line.strip() for line in view.traceback.splitlines() if line.strip().startswith('File "')]
    return one_line(places[-1].removeprefix("File ").replace('"', "")) if places else ""


def _present(explanation: StatusExplanation) -> Iterator[str]:
    view, serving = explanation.view, explanation.serving_processors
    if is_terminal(view.status) or explanation.cause in {StatusCause.OTHER, StatusCause.DELAYED}:
        return
    if explanation.live.full_store is not None:
        yield "no processor can store its lease"
    elif not serving and (view.status != Status.RUNNING or explanation.cause is StatusCause.ORPHANED):
        yield from _unserved(view, explanation.live.processors)
    elif explanation.cause in {StatusCause.BUSY, StatusCause.BLOCKED, StatusCause.STUCK, StatusCause.STARTING}:
        yield from map(_load, serving[:_MOST])
        if ahead := explanation.live.pending_before:
            are = "is" if ahead == 1 else "are"
            yield f"{count(ahead, 'older workflow')} of its handler {are} pending too"
    elif explanation.cause in {StatusCause.RUNNING, StatusCause.HUNG, StatusCause.UNATTENDED}:
        yield from (f"{_load(each)}, and is alive" for each in serving if each.processor_id == view.owner)


def _unserved(view: WorkflowView, live: Sequence[ProcessorView]) -> Iterator[str]:
    if not live:
        yield "no processor is live at all"
        return
    known = sorted({one_line(handler) for each in live for handler in each.handlers})
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    what = f"{', '.join(known[:_MOST])}{more}" if known else "no handler"
    yield f"{count(len(live), 'live processor')} {'has' if len(live) == 1 else 'have'} {what}"
    if alike := difflib.get_close_matches(view.handler, known, 1):
        yield f"a live one has {alike[0]}, which is spelt alike"


def _load(each: ProcessorView) -> str:
    return f"the processor {one_line(each.processor_id)} has {each.busy} of {each.slots} slots taken"


def remedies(explanation: StatusExplanation, connection: Sequence[str] = ()) -> list[Remedy]:
    """The one that mends it comes first; ``connection`` are flags that every command gets."""
    found: list[Remedy] = []
    if explanation.live.child is not None:
        found = [
            each for each in remedies(explanation.live.child, connection) if not is_terminal(explanation.view.status)
        ]
    flags = f" {shlex.join(connection)}" if connection else ""
    found += [Remedy(f"{command}{flags}", purpose) for command, purpose in _remedies(explanation)]
    return list(dict.fromkeys(found))


def _remedies(explanation: StatusExplanation) -> list[tuple[str, str]]:
    view = explanation.view
    if (full := explanation.live.full_store) is not None:
        if full.needs_restart:
            return [(_line("doctor"), "what has stopped, and what to do")]
        doctor = (_line("doctor"), "what is full, and which limit to raise")
        return [(_line("wf", "delete", "--status", "completed"), "make room: deleting needs none"), doctor]
    get, resume = _line("wf", "get", view.invocation_id), _line("wf", "resume", view.invocation_id)
    if is_terminal(view.status):
        return [*_after_compensations(view), *_of_ended(explanation, get)]
    if view.status == Status.PAUSED:
        return _of_paused(explanation, get, resume)
    if explanation.cause is StatusCause.OTHER:
        return [(get, "step by step")]
    return _of_active(explanation, get, resume)


def _of_paused(explanation: StatusExplanation, get: str, resume: str) -> list[tuple[str, str]]:
    match explanation.cause:
        case StatusCause.MISMATCH:
            fits = "go on, once the processors run code that fits the journal"
            return [(resume, fits), (get, "the journal that the code must fit")]
        case StatusCause.CRASHING:
            last = "the last step in the journal: what comes behind it brings the processor down"
            return [(get, last), (resume, "go on, once the cause is mended")]
        case StatusCause.PAUSED_BY_ENGINE:
            what, when = _PAUSED_BY_ENGINE[explanation.view.reason_code]
            return [(get, what), (resume, f"continue, {when}")]
        case _:
            return [(resume, "go on")]


def _after_compensations(view: WorkflowView) -> list[tuple[str, str]]:
    """A plain retry keeps results although what they stand for is undone."""
    if not any(each.kind == StepKind.COMPENSATION for each in view.journal or ()):
        return []
    again = _line("wf", "retry", view.invocation_id, "--from-step", "0")
    return [(again, "run all steps again: compensations have undone some")]


def _of_ended(explanation: StatusExplanation, get: str) -> list[tuple[str, str]]:
    view, step = explanation.view, explanation.step
    retry, timeline = _line("wf", "retry", view.invocation_id), _line("wf", "timeline", view.invocation_id)
    found = [(retry, "go on with it all the same"), (get, "which steps had run")]
    match explanation.cause:
        case StatusCause.STEP_FAILED if step is not None:
            mended = (retry, f"go on from step {step.step_number}, once the cause is mended")
            found = [mended, (f"{get} --steps {step.step_number}", "its request and the traceback")]
            if step.kind == StepKind.CHILD and step.awaited_id:
                found = [(_line("wf", "why", step.awaited_id), "why the child failed"), mended]
        case StatusCause.CODE_FAILED:
            found = [(get, "the traceback"), (retry, "run the mended code on the steps that are done")]
        case StatusCause.TIMED_OUT:
            found = [(timeline, "where the time went"), (retry, "go on with the time limit counted anew")]
        case StatusCause.CANCELLED_WITH_PARENT if view.parent_id:
            found = [(_line("wf", "why", view.parent_id), "why the parent was cancelled"), found[0]]
        case StatusCause.COMPLETED:
            found = [(timeline, "step by step")]
    return found


def _of_active(explanation: StatusExplanation, get: str, resume: str) -> list[tuple[str, str]]:
    """For what has not ended and is not paused."""
    view = explanation.view
    watch = (_line("wf", "watch", view.invocation_id), "see it go on")
    found: list[tuple[str, str]] = []
    match explanation.cause:
        case StatusCause.BUSY:
            held = _line("wf", "list", "--status", "running", "--oldest-first")
            found = [(_line(*_APP), "more slots"), (held, "what holds the slots")]
        case StatusCause.BLOCKED | StatusCause.HUNG | StatusCause.UNATTENDED:
            found = _of_held_up(explanation, get)
        case StatusCause.STUCK:
            found = _of_stuck(explanation, get, resume)
        case StatusCause.RETRYING:
            found = [*_of_retrying(view), watch]
        case StatusCause.WAITING if (
            (answer := answer_command(view)) and view.waiting_for and view.waiting_for.kind != WaitKind.CHILD
        ):
            found = [(answer, "end the wait"), (get, "step by step")]
        case StatusCause.WAITING:
            found = [(get, "step by step")]
        case StatusCause.DELAYED | StatusCause.STARTING | StatusCause.RUNNING | StatusCause.CANCELLING:
            found = [watch]
    if not explanation.serving_processors and explanation.cause is not StatusCause.DELAYED:
        serve = (_line(*_APP), f"a processor whose APP defines {one_line(view.handler)}")
        found = [serve, (_line("processors"), "what the live ones define"), *found]
    return found


def _of_stuck(explanation: StatusExplanation, get: str, resume: str) -> list[tuple[str, str]]:
    if explanation.live.consumer_faults:
        return [(_line("doctor", "--repair", "--streams"), "have it hand out everything again")]
    doctor = (_line("doctor"), "whether all is well")
    if explanation.view.status == Status.PENDING:
        return [(resume, "call for a processor anew"), doctor]
    return [doctor, (get, "step by step")]


def _of_retrying(view: WorkflowView) -> list[tuple[str, str]]:
    again = (_line("wf", "retry-now", view.invocation_id), "try now, once the cause is corrected")
    waits = view.waiting_for
    if waits is None or waits.reason_code != ReasonCode.NO_SERVICE:
        return [again]
    return [(_line("run", "service", "APP"), f"a service that answers {one_line(waits.name)}"), again]


def _of_held_up(explanation: StatusExplanation, get: str) -> list[tuple[str, str]]:
    if explanation.cause is StatusCause.BLOCKED:
        another = [(_line(*_APP), "another processor, which runs it meanwhile")]
        look = [(_line("processors"), "which processors are blocked, and by what"), (get, "step by step")]
        return look if explanation.view.status == Status.RUNNING else another + look
    if explanation.cause is StatusCause.UNATTENDED:
        return [(_line("doctor", "--repair"), "have it taken over"), (get, "step by step")]
    restart = _line("wf", "restart-step", explanation.view.invocation_id)
    return [(restart, "interrupt the step, and run it again"), (get, "step by step")]


def _line(*words: str) -> str:
    return one_line(shlex.join(["durablectl", *words]))
