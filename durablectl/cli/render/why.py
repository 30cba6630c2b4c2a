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
from durablectl.model.status import Status
from durablectl.query import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.cli.render.why_evidence import Fact
    from durablectl.query import Reason, StepView

_NOW_MICROSECONDS = MICROSECONDS


def why_json(reason: Reason, now: int, connection: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "invocation_id": reason.view.invocation_id,
        "status": reason.view.status,
        "cause": reason.cause,
        "verdict": verdict(reason, now),
        "evidence": [fact.to_json() for fact in evidence(reason, now)],
        "commands": [remedy.to_json() for remedy in remedies(reason, connection)],
    }


def why_page(reason: Reason, now: int, width: int, connection: Sequence[str] = ()) -> Text:
    """For a terminal; commands are never cut."""
    view = reason.view
    title = Text.assemble((one_line(view.handler), "bold"), "  ", (one_line(view.invocation_id), "dim"))
    mark = workflow_symbol(view)
    told = Text.assemble(mark, " ", (_wrapped(verdict(reason, now), width, "  "), "bold"))
    return Text("\n\n").join(
        [Text("\n").join([title, told]), *_facts(reason, now, width), *_commands(reason, width, connection)]
    )


def _facts(reason: Reason, now: int, width: int) -> list[Text]:
    facts = evidence(reason, now)
    if not facts:
        return []
    moments = [_moment(fact, facts, now) for fact in facts]
    ages = [
        "now" if now - fact.at < _NOW_MICROSECONDS and fact.at == now else f"{age(fact.at, now)} ago" for fact in facts
    ]
    first, second = max(map(len, moments)), max(map(len, ages))
    before = first + second + 4
    lines = [
        Text.assemble((f"{moment:<{first}}  {passed:>{second}}  ", "dim"), _wrapped(fact.text, width, " " * before))
        for fact, moment, passed in zip(facts, moments, ages, strict=True)
    ]
    return [Text("\n").join(lines)]


def _moment(fact: Fact, facts: Sequence[Fact], now: int) -> str:
    """In UTC; with the date where not all of them are of today."""
    days = {to_datetime(each.at).date() for each in facts} | {to_datetime(now).date()}
    return to_datetime(fact.at).strftime("%H:%M:%SZ" if len(days) == 1 else "%Y-%m-%d %H:%M:%SZ")


def _commands(reason: Reason, width: int, connection: Sequence[str]) -> list[Text]:
    """Side by side with what they are for where there is room, else that above each."""
    found = remedies(reason, connection)
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


def why_text(reason: Reason, now: int, connection: Sequence[str] = ()) -> str:
    """For a pipe: a line each, tab-separated."""
    view = reason.view
    lines = [
        ("Id", one_line(view.invocation_id)),
        ("Handler", one_line(view.handler)),
        ("Status", one_line(view.status)),
        ("Cause", str(reason.cause)),
        ("Verdict", verdict(reason, now)),
        *(("Evidence", iso(fact.at), fact.text) for fact in evidence(reason, now)),
        *(("Command", remedy.command, remedy.purpose) for remedy in remedies(reason, connection)),
    ]
    return "\n".join("\t".join(line) for line in lines)


def verdict(reason: Reason, now: int) -> str:
    """A sentence; of a wait for a child, another one about that."""
    told = _verdict(reason, now)
    told = f"{told[:1].upper()}{told[1:]}{'' if told.endswith(('.', '!', '?')) else '.'}"
    child = reason.live.child
    return told if child is None else f"{told} Of that child: {verdict(child, now)}"


def _verdict(reason: Reason, now: int) -> str:
    view, step = reason.view, reason.step
    match reason.cause:
        case Cause.COMPLETED:
            took = "" if step is None else f"; the slowest was {step_name(step)} with {_lasted(step)}"
            told = f"nothing is wrong: {end_sentence(view)}{took}"
        case Cause.STEP_FAILED | Cause.CODE_FAILED | Cause.TIMED_OUT:
            told = f"it failed {_failure(reason)}"
        case Cause.CANCELLED | Cause.CANCELLED_WITH_PARENT | Cause.CANCELLING:
            told = _cancelled(reason, now)
        case Cause.PAUSED | Cause.MISMATCH | Cause.CRASHING:
            told = _paused(reason)
        case Cause.NO_PROCESSOR | Cause.DELAYED | Cause.BUSY | Cause.STARTING | Cause.STUCK:
            told = _unclaimed(reason, now)
        case Cause.OTHER:
            told = f"its status is {one_line(view.status)!r}, which only the program that wrote it can explain"
        case _:
            told = _moving(reason, now)
    return told


def _failure(reason: Reason) -> str:
    view, step = reason.view, reason.step
    if reason.cause is Cause.TIMED_OUT:
        waits = "" if step is None else f", while {step_name(step)} was still waiting"
        return f"by its own time limit{waits}: {one_line(view.error)}"
    if step is None:
        return f"in its own code, not in a step: {error_text(view)}"
    if step.kind == StepKind.CHILD:
        known = reason.live.child is not None  # and has a sentence of its own
        return f"because its child {one_line(step.awaited_id)} did{'' if known else f': {one_line(step.error)}'}"
    tries = {0: "", 1: " at its first attempt"}.get(step.attempts, f" after {step.attempts} attempts")
    return f"because {step_name(step)} failed{tries}: {error_text(step)}"


def _cancelled(reason: Reason, now: int) -> str:
    view = reason.view
    if reason.cause is Cause.CANCELLING:
        return f"it is {status_sentence(view, now)}"
    undone = f"; a compensation failed: {one_line(view.error)}" if view.error else ""
    if reason.cause is Cause.CANCELLED_WITH_PARENT:
        return (
            f"it was cancelled because its parent{f' {one_line(view.parent_id)}' if view.parent_id else ''} was{undone}"
        )
    given = f": {one_line(view.reason)}" if view.reason else ", who gave no reason"
    return f"it was cancelled by an operator{given}{undone}"


def _paused(reason: Reason) -> str:
    view = reason.view
    told = one_line(view.reason)
    if reason.cause is Cause.MISMATCH:
        found = told if view.mismatch is None else one_line(view.mismatch.sentence())
        return f"it is paused because its code no longer fits its journal: {found}"
    if reason.cause is Cause.CRASHING:
        after = "" if reason.step is None else f" after {step_name(reason.step)}"
        return f"it is paused because it {told}{after}"
    in_flight = f"; step {view.current_step} {one_line(view.current_step_type)} is in flight and ends first"
    given = f": {told}" if told else ", who gave no reason"
    return f"it was paused by an operator{given}{in_flight if view.owner and has_current(view) else ''}"


def _unclaimed(reason: Reason, now: int) -> str:
    view, able = reason.view, reason.serving
    waited = f"it has been waiting for {elapsed(now - reason.due_since)}"
    match reason.cause:
        case Cause.DELAYED if view.waiting_for is not None:
            until = view.waiting_for.until
            return f"nothing is wrong: its start was delayed until {iso(until)}, which is in {countdown(until - now)}"
        case Cause.NO_PROCESSOR:
            return f"{waited} because no live processor has its handler {one_line(view.handler)}"
        case Cause.BUSY:
            slots = count(sum(each.slots for each in able), "slot")
            full = f"the {len(able)} live processors with its handler are full ({slots})"
            whose = f"the only live processor with its handler is full ({slots})" if len(able) == 1 else full
            before = f"; at most {count(reason.live.ahead, 'workflow')} of its handler came before it"
            return f"{waited} because {whose}{before if reason.live.ahead else ''}"
        case Cause.STARTING:
            return f"nothing is wrong: {waited}, and a processor has room for it"
        case _:
            return f"{waited}, although a live processor has its handler and room for it"


def _moving(reason: Reason, now: int) -> str:
    view, waits = reason.view, reason.view.waiting_for
    if waits is not None and reason.cause is Cause.ORPHANED:
        able = len(reason.serving)
        then = f"{count(able, 'live processor')} can take it over" if able else "no live one has its handler"
        return f"the processor {one_line(waits.name)} that ran it is gone; {then}"
    if waits is not None and reason.cause is Cause.RETRYING:
        left = waits.until - now
        after = f"in {countdown(left)}" if left > 0 else "due now"
        tries = count(waits.attempt, "time")
        told = f"step {waits.step_number} {one_line(waits.name)} has failed {tries}, the next attempt is {after}"
        told = f"{told}{_unheard(reason)}: {one_line(waits.error)}"
    elif waits is not None:
        fine = "nothing is wrong: " if waits.kind == WaitKind.SLEEP and reason.serving else ""
        told = f"{fine}it is {wait_sentence(waits, now)}{_unheard(reason)}"
    else:
        told = f"it is at work: {status_sentence(view, now)}"
    return told


def _unheard(reason: Reason) -> str:
    if reason.serving or reason.view.status == Status.RUNNING:
        return ""
    return ", but then it cannot go on: no live processor has its handler"


def _lasted(step: StepView) -> str:
    return duration(step.finished_at - step.started_at)


def _wrapped(text: str, width: int, indent: str) -> str:
    wrap = textwrap.TextWrapper(max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    return f"\n{indent}".join(wrap.wrap(text) or [""])
