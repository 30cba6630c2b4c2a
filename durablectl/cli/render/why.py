"""Why a workflow is as it is: a sentence, the facts behind it, and the commands to go on with."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from durablectl.cli.render.formatting import age, count, countdown, duration, elapsed, iso, one_line
from durablectl.cli.render.status_sentence import (
    end_sentence,
    error_text,
    has_current,
    status_sentence,
    wait_sentence,
    workflow_symbol,
)
from durablectl.cli.render.why_evidence import evidence, remedies, step_name
from durablectl.model.clock import MICROSECONDS, to_datetime
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.reason_codes import COMPENSATION_FAILED, ReasonCode
from durablectl.model.status import Status
from durablectl.query import StatusCause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.cli.render.why_evidence import Fact
    from durablectl.query import StatusExplanation, StepView

_SHOWN_AS_NOW_MICROSECONDS = MICROSECONDS
_PAUSED_BY_ENGINE: dict[str, str] = {
    ReasonCode.HANDLER_STUCK: "",
    ReasonCode.ENGINE_FAILED: "",
    ReasonCode.UNREADABLE: "its journal cannot be used: ",
    ReasonCode.TOO_LARGE: "its record does not fit into a message: ",
}
"""What comes before the reason of a pause that the engine began."""


def why_json(explanation: StatusExplanation, now: int, connection: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "invocation_id": explanation.view.invocation_id,
        "status": explanation.view.status,
        "cause": explanation.cause,
        "verdict": verdict(explanation, now),
        "evidence": [fact.to_json() for fact in evidence(explanation, now)],
        "commands": [remedy.to_json() for remedy in remedies(explanation, connection)],
    }


def why_page(explanation: StatusExplanation, now: int, width: int, connection: Sequence[str] = ()) -> Text:
    """For a terminal; commands are never cut."""
    view = explanation.view
    title = Text.assemble((one_line(view.handler), "bold"), "  ", (one_line(view.invocation_id), "dim"))
    mark = workflow_symbol(view)
    sentence = Text.assemble(mark, " ", (_wrapped(verdict(explanation, now), width, "  "), "bold"))
    return Text("\n\n").join(
        [
            Text("\n").join([title, sentence]),
            *_facts(explanation, now, width),
            *_commands(explanation, width, connection),
        ]
    )


def _facts(explanation: StatusExplanation, now: int, width: int) -> list[Text]:
    facts = evidence(explanation, now)
    if not facts:
        return []
    moments = [_format_time(fact, facts, now) for fact in facts]
    ages = [
        "now" if now - fact.at < _SHOWN_AS_NOW_MICROSECONDS and fact.at == now else f"{age(fact.at, now)} ago"
        for fact in facts
    ]
    first, second = max(map(len, moments)), max(map(len, ages))
    before = first + second + 4
    lines = [
        Text.assemble((f"{moment:<{first}}  {passed:>{second}}  ", "dim"), _wrapped(fact.text, width, " " * before))
        for fact, moment, passed in zip(facts, moments, ages, strict=True)
    ]
    return [Text("\n").join(lines)]


def _format_time(fact: Fact, facts: Sequence[Fact], now: int) -> str:
    """In UTC; with the date where not all of them are of today."""
    days = {to_datetime(each.at).date() for each in facts} | {to_datetime(now).date()}
    return to_datetime(fact.at).strftime("%H:%M:%SZ" if len(days) == 1 else "%Y-%m-%d %H:%M:%SZ")


def _commands(explanation: StatusExplanation, width: int, connection: Sequence[str]) -> list[Text]:
    """Side by side with what they are for where there is room, else that above each."""
    found = remedies(explanation, connection)
    if not found:
        return []
    most = max(len(remedy.command) for remedy in found)
    aside = all(most + 2 + len(remedy.purpose) + 2 <= width for remedy in found)
    lines = []
    for remedy in found:
        if aside:
            lines.append(Text.assemble((f"{remedy.command:<{most}}", "cyan"), (f"  # {remedy.purpose}", "dim")))
        else:
            lines += [Text(_wrapped(f"# {remedy.purpose}", width, "# "), "dim"), Text(remedy.command, "cyan")]
    return [Text("\n").join(lines)]


def why_text(explanation: StatusExplanation, now: int, connection: Sequence[str] = ()) -> str:
    """For a pipe: a line each, tab-separated."""
    view = explanation.view
    lines = [
        ("Id", one_line(view.invocation_id)),
        ("Handler", one_line(view.handler)),
        ("Status", one_line(view.status)),
        ("Cause", str(explanation.cause)),
        ("Verdict", verdict(explanation, now)),
        *(("Evidence", iso(fact.at), fact.text) for fact in evidence(explanation, now)),
        *(("Command", remedy.command, remedy.purpose) for remedy in remedies(explanation, connection)),
    ]
    return "\n".join("\t".join(line) for line in lines)


def verdict(explanation: StatusExplanation, now: int) -> str:
    """A sentence; of a wait for a child, another one about that."""
    sentence = _verdict(explanation, now)
    sentence = f"{sentence[:1].upper()}{sentence[1:]}{'' if sentence.endswith(('.', '!', '?')) else '.'}"
    full = explanation.live.full_store
    if full is not None:
        # Processors that cannot store their leases look dead.
        sentence = f"No processor can continue. {one_line(full.sentence)}."
    child = explanation.live.child
    return sentence if child is None else f"{sentence} Of that child: {verdict(child, now)}"


def _verdict(explanation: StatusExplanation, now: int) -> str:
    view, step = explanation.view, explanation.step
    match explanation.cause:
        case StatusCause.COMPLETED:
            took = "" if step is None else f"; the slowest was {step_name(step)} with {_lasted(step)}"
            sentence = f"nothing is wrong: {end_sentence(view)}{took}"
        case StatusCause.STEP_FAILED | StatusCause.CODE_FAILED | StatusCause.TIMED_OUT:
            sentence = f"it failed {_failure(explanation)}"
        case StatusCause.CANCELLED | StatusCause.CANCELLED_WITH_PARENT | StatusCause.CANCELLING:
            sentence = _cancelled(explanation, now)
        case StatusCause.PAUSED | StatusCause.MISMATCH | StatusCause.CRASHING | StatusCause.PAUSED_BY_ENGINE:
            sentence = _paused(explanation)
        case (
            StatusCause.NO_PROCESSOR | StatusCause.DELAYED | StatusCause.BUSY | StatusCause.STARTING | StatusCause.STUCK
        ):
            sentence = _unclaimed(explanation, now)
        case StatusCause.BLOCKED:
            sentence = _blocked(explanation, now)
        case StatusCause.OTHER:
            sentence = f"its status is {one_line(view.status)!r}, which only the program that wrote it can explain"
        case _:
            sentence = _active(explanation, now)
    return sentence


def _failure(explanation: StatusExplanation) -> str:
    view, step = explanation.view, explanation.step
    if explanation.cause is StatusCause.TIMED_OUT:
        waits = "" if step is None else f", while {step_name(step)} was still waiting"
        return f"by its own time limit{waits}: {one_line(view.error)}"
    if step is None and view.reason_code == ReasonCode.TOO_LARGE:
        return f"because what it made is too large to be stored: {error_text(view)}"
    if step is None:
        return f"in its own code, not in a step: {error_text(view)}"
    if step.kind == StepKind.CHILD:
        known = explanation.live.child is not None  # and has a sentence of its own
        return f"because its child {one_line(step.awaited_id)} did{'' if known else f': {one_line(step.error)}'}"
    tries = {0: "", 1: " at its first attempt"}.get(step.attempts, f" after {step.attempts} attempts")
    return f"because {step_name(step)} failed{tries}: {error_text(step)}"


def _cancelled(explanation: StatusExplanation, now: int) -> str:
    view = explanation.view
    if explanation.cause is StatusCause.CANCELLING:
        return f"it is {status_sentence(view, now)}"
    undone = ""
    if view.error:
        is_failure = view.error_type == COMPENSATION_FAILED
        undone = f"; {'a compensation failed: ' if is_failure else ''}{one_line(view.error)}"
    if explanation.cause is StatusCause.CANCELLED_WITH_PARENT:
        return (
            f"it was cancelled because its parent{f' {one_line(view.parent_id)}' if view.parent_id else ''} was{undone}"
        )
    given = f": {one_line(view.reason)}" if view.reason else ", who gave no reason"
    return f"it was cancelled by an operator{given}{undone}"


def _paused(explanation: StatusExplanation) -> str:
    view = explanation.view
    sentence = one_line(view.reason)
    if explanation.cause is StatusCause.MISMATCH:
        found = sentence if view.mismatch is None else one_line(view.mismatch.sentence())
        return f"it is paused because its code no longer fits its journal: {found}"
    if explanation.cause is StatusCause.CRASHING:
        after = "" if explanation.step is None else f" after {step_name(explanation.step)}"
        return f"it is paused because it {sentence}{after}"
    if explanation.cause is StatusCause.PAUSED_BY_ENGINE:
        return f"it is paused because {_PAUSED_BY_ENGINE[view.reason_code]}{sentence}"
    if view.reason_code not in {ReasonCode.PAUSED_BY_OPERATOR, ""}:
        return f"it is paused: {sentence}"
    in_flight = f"; step {view.current_step} {one_line(view.current_step_type)} is in flight and ends first"
    given = f": {sentence}" if sentence else ", who gave no reason"
    return f"it was paused by an operator{given}{in_flight if view.owner and has_current(view) else ''}"


def _unclaimed(explanation: StatusExplanation, now: int) -> str:
    view, serving = explanation.view, explanation.serving_processors
    waited = f"it has been waiting for {elapsed(now - explanation.due_since)}"
    match explanation.cause:
        case StatusCause.DELAYED if view.waiting_for is not None:
            until = view.waiting_for.until
            return f"nothing is wrong: its start was delayed until {iso(until)}, which is in {countdown(until - now)}"
        case StatusCause.NO_PROCESSOR:
            return f"{waited} because no live processor has its handler {one_line(view.handler)}"
        case StatusCause.BUSY:
            slots = count(sum(each.slots for each in serving), "slot")
            full = f"the {len(serving)} live processors with its handler are full ({slots})"
            whose = f"the only live processor with its handler is full ({slots})" if len(serving) == 1 else full
            before = f"; at most {count(explanation.live.pending_before, 'workflow')} of its handler came before it"
            return f"{waited} because {whose}{before if explanation.live.pending_before else ''}"
        case StatusCause.STARTING:
            return f"nothing is wrong: {waited}, and a processor has room for it"
        case StatusCause.STUCK if explanation.live.consumer_faults:
            return f"{waited}, as {', and '.join(map(one_line, explanation.live.consumer_faults))}"
        case _:
            return f"{waited}, although a live processor has its handler and room for it"


def _blocked(explanation: StatusExplanation, now: int) -> str:
    view, blocked = explanation.view, explanation.blocked_processors
    first = min(blocked, key=lambda each: each.blocked_since)
    since = f"has been blocked for {elapsed(now - first.blocked_since)} by {one_line(first.blocked_by)}"
    if view.status == Status.RUNNING:
        return f"it does not move: the event loop of its processor {one_line(first.processor_id)} {since}"
    waited = f"it has been waiting for {elapsed(now - explanation.due_since)}"
    if len(blocked) == 1:
        return f"{waited}: the event loop of the only live processor with room for it {since}"
    loops = f"the event loops of the {len(blocked)} live processors with room for it are blocked"
    return f"{waited}: {loops}, one of them for {elapsed(now - first.blocked_since)} by {one_line(first.blocked_by)}"


def _active(explanation: StatusExplanation, now: int) -> str:
    view, waits = explanation.view, explanation.view.waiting_for
    if waits is not None and explanation.cause is StatusCause.ORPHANED:
        serving = len(explanation.serving_processors)
        then = f"{count(serving, 'live processor')} can take it over" if serving else "no live one has its handler"
        return f"the processor {one_line(waits.name)} that ran it is gone; {then}"
    if waits is not None and explanation.cause is StatusCause.RETRYING:
        left = waits.until - now
        after = f"in {countdown(left)}" if left > 0 else "due now"
        tries = count(waits.attempt, "time")
        sentence = f"step {waits.step_number} {one_line(waits.name)} has failed {tries}, the next attempt is {after}"
        sentence = f"{sentence}{_no_processor_clause(explanation)}: {one_line(waits.error)}"
    elif waits is not None:
        fine = "nothing is wrong: " if waits.kind == WaitKind.SLEEP and explanation.serving_processors else ""
        sentence = f"{fine}it is {wait_sentence(waits, now)}{_no_processor_clause(explanation)}"
    elif explanation.cause is StatusCause.HUNG:
        sentence = _hung(explanation, now)
    elif explanation.cause is StatusCause.UNATTENDED:
        sentence = f"it is running by its record, but its processor {one_line(view.owner)} is not at work on it"
    else:
        sentence = f"it is at work: {status_sentence(view, now)}"
    return sentence


def _hung(explanation: StatusExplanation, now: int) -> str:
    view = explanation.view
    usual = explanation.live.usual.get(view.current_step_type, 0)
    where = f"step {view.current_step} {one_line(view.current_step_type)}" if view.current_step >= 0 else "it"
    compared = f", and in other runs at most {duration(usual)}" if usual else ", and nothing was recorded since"
    return f"{where} hangs: it has lasted {elapsed(now - view.updated_at)}{compared}"


def _no_processor_clause(explanation: StatusExplanation) -> str:
    if explanation.serving_processors or explanation.view.status == Status.RUNNING:
        return ""
    return ", but then it cannot go on: no live processor has its handler"


def _lasted(step: StepView) -> str:
    return duration(step.finished_at - step.started_at)


def _wrapped(text: str, width: int, indent: str) -> str:
    wrap = textwrap.TextWrapper(max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    return f"\n{indent}".join(wrap.wrap(text) or [""])
