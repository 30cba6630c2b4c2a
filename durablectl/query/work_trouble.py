"""Which workflows are in trouble, and why: the rules of `why` over many workflows, in groups. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import WaitKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status
from durablectl.query.error_clusters import ParsedError, normalise
from durablectl.query.trouble import (
    RECENT_MICROSECONDS,
    SHOWN,
    Group,
    Remedy,
    Trouble,
    Urgency,
    counted,
    durablectl,
)
from durablectl.query.why import StatusCause, hung_limit
from durablectl.storage.diagnosis.dead_commands import DeadReason, StrayCommands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from durablectl.query.views import ProcessorView
    from durablectl.query.why import StatusExplanation

FORGOTTEN_MICROSECONDS = 60 * 60 * MICROSECONDS
"""What waits for an answer this long is forgotten."""
PASSING_MICROSECONDS = 30 * MICROSECONDS
"""A retry, or a wait for a slot, that began this lately may be over soon by itself."""
_PASSING_ATTEMPTS = 2
_LONGEST_ERROR = 160


class Observed(NamedTuple):
    """A workflow with the reason why it is as it is; it stands for ``weight`` workflows of its kind."""

    why: StatusExplanation
    weight: float = 1.0


@dataclass(frozen=True)
class Backlog:
    """What waits for a slot of a handler; ``per_minute`` is how many of the handler ended per minute lately."""

    waiting: int = 0
    recent: int = 0
    per_minute: float = 0.0

    @property
    def eta_seconds(self) -> int | None:
        return round(self.waiting / self.per_minute * 60) if self.per_minute else None


@dataclass(frozen=True)
class Work:
    """What was read of the workflows that do not move.

    ``unserved`` counts those that have not ended, by handler without a processor and by status.
    ``backlogs`` are by handler. ``stray`` are commands of no workflow that is known. ``consumer_faults`` say, of the
    handlers of what is due and not begun, what keeps their commands from the processors.
    """

    observed: Sequence[Observed] = ()
    failed: Sequence[Observed] = ()
    unserved: Mapping[str, Counter[str]] = field(default_factory=dict)
    backlogs: Mapping[str, Backlog] = field(default_factory=dict)
    stray: StrayCommands = field(default_factory=StrayCommands)
    consumer_faults: Mapping[str, Sequence[str]] = field(default_factory=dict)


def groups_of_work(work: Work, now: int) -> list[Group]:
    """Every group of workflows in trouble; ``now`` in microseconds."""
    found: list[Group] = []
    members: dict[tuple[StatusCause, tuple[str, ...]], list[Observed]] = defaultdict(list)
    for each in work.observed:
        if each.why.view.handler in work.unserved and each.why.view.status != Status.PAUSED:
            members[StatusCause.NO_PROCESSOR, (each.why.view.handler,)].append(each)
        elif (rule := _RULES.get(each.why.cause)) is not None and (key := rule.key(each.why)) is not None:
            members[each.why.cause, key].append(each)
    for handler in work.unserved:
        members.setdefault((StatusCause.NO_PROCESSOR, (handler,)), [])
    for (cause, key), those in members.items():
        found.append(_RULES[cause].group(_Members(key, those, now, work)))
    return [*found, *_failed(work.failed, now), *_stray(work.stray)]


class _Members:
    """The workflows of one group, and what is the same for all rules."""

    def __init__(self, key: tuple[str, ...], observed: Sequence[Observed], now: int, work: Work) -> None:
        self.key = key
        self.now = now
        self.work = work
        self._ordered = sorted(observed, key=lambda each: (_since(each.why), each.why.view.invocation_id))

    @property
    def explained(self) -> list[StatusExplanation]:
        """Those that were read, the oldest first."""
        return [each.why for each in self._ordered]

    @property
    def count(self) -> int:
        return max(len(self._ordered), round(sum(each.weight for each in self._ordered)))

    @property
    def since(self) -> int:
        return next((_since(why) for why in self.explained if _since(why)), 0)

    @property
    def age(self) -> int:
        return self.now - self.since if self.since else 0

    @property
    def example(self) -> str:
        return self.explained[0].view.invocation_id if self._ordered else "ID"

    def group(
        self, trouble: Trouble, urgency: Urgency, summary: str, remedies: Sequence[Remedy], **details: Any
    ) -> Group:
        recent = sum(each.weight for each in self._ordered if _since(each.why) > self.now - RECENT_MICROSECONDS)
        values: dict[str, Any] = {
            "count": self.count,
            "recent": round(recent),
            "is_estimate": any(each.weight > 1 for each in self._ordered),
        }
        values |= {name: details.pop(name) for name in [*values] if name in details}
        return Group(
            trouble,
            urgency,
            summary,
            since=self.since,
            examples=[why.view.invocation_id for why in self.explained[:SHOWN]],
            remedies=remedies,
            details=details,
            **values,
        )

    @property
    def why(self) -> Remedy:
        return durablectl("wf", "why", self.example, purpose="look at one of them")


_UNCLAIMED = frozenset({StatusCause.NO_PROCESSOR, StatusCause.BUSY, StatusCause.STUCK, StatusCause.STARTING})


class _Rule(NamedTuple):
    """``key`` says which group a workflow belongs to, None for none; ``group`` describes one."""

    key: Callable[[StatusExplanation], tuple[str, ...] | None]
    group: Callable[[_Members], Group]


def _since(why: StatusExplanation) -> int:
    view = why.view
    if why.cause in _UNCLAIMED and why.due_since:
        return why.due_since
    retried_since = view.waiting_for.since if view.waiting_for is not None else 0
    return view.finished_at or retried_since or view.updated_at or view.created_at


def _handler(why: StatusExplanation) -> tuple[str, ...]:
    return (why.view.handler,)


def _wait(why: StatusExplanation) -> tuple[str, ...] | None:
    waits = why.view.waiting_for
    if waits is None or waits.kind not in {WaitKind.AWAKEABLE, WaitKind.SIGNAL}:
        return None
    return (waits.kind, waits.name.partition(":")[2] or waits.name, why.view.handler)


def _retry(why: StatusExplanation) -> tuple[str, ...] | None:
    waits = why.view.waiting_for
    return None if waits is None else (why.view.handler, waits.name, normalise(waits.error[:_LONGEST_ERROR]))


def _retrying(members: _Members) -> Group:
    handler, step, error = members.key
    waits = [why.view.waiting_for for why in members.explained if why.view.waiting_for is not None]
    attempts = max(wait.attempt for wait in waits)
    lasts = attempts > _PASSING_ATTEMPTS or members.age > PASSING_MICROSECONDS
    last = waits[0].error if len({wait.error for wait in waits}) == 1 else error
    again = "try now, once the cause is corrected"
    remedies = [
        members.why,
        durablectl("wf", "retry-now", "--handler", handler, "--step", step, purpose=again),
    ]
    if any(wait.reason_code == ReasonCode.NO_SERVICE for wait in waits):
        remedies.insert(0, durablectl("run", "service", "APP", purpose=f"a service that answers {step}"))
    return members.group(
        Trouble.RETRYING,
        Urgency.WARNING if lasts else Urgency.NOTICE,
        f"{_of(members, handler)} {_verb(members, 'retry', 'retries')} step {step}: {last[:_LONGEST_ERROR]}",
        remedies,
        handler=handler,
        step=step,
        error=last,
        reason_code=waits[0].reason_code or None,
        attempts=attempts,
        next_at=min(wait.until for wait in waits),
    )


_ENGINE_PAUSES: Mapping[str, tuple[str, str]] = {
    ReasonCode.MISMATCH: ("the code no longer fits the journal", "once the processors run code that fits the journal"),
    ReasonCode.CRASHED_PROCESSOR: ("the processor died on it again and again", "once the cause is corrected"),
    ReasonCode.HANDLER_STUCK: ("the handler spins, or awaits what nothing brings", "once the code is corrected"),
    ReasonCode.ENGINE_FAILED: ("the engine failed with an error of its own", "once the cause is corrected"),
    ReasonCode.TOO_LARGE: ("the record does not fit into a message", "once the server allows larger messages"),
    ReasonCode.UNREADABLE: ("the journal is damaged", "once a backup of the journal is restored"),
}


def _paused_key(why: StatusExplanation) -> tuple[str, ...]:
    return (why.view.reason_code, why.view.handler)


def _paused_by_engine(members: _Members) -> Group:
    code, handler = members.key
    why, when = _ENGINE_PAUSES.get(code, ("the engine gave up", "once the cause is corrected"))
    said = members.explained[0].view.reason
    return members.group(
        Trouble.PAUSED_BY_ENGINE,
        Urgency.ERROR,
        f"{_of(members, handler)} {_be(members)} paused by the engine: {why}",
        [
            members.why,
            durablectl("wf", "resume", "--handler", handler, "--reason", code, purpose=f"continue, {when}"),
        ],
        handler=handler,
        reason_code=code,
        reason=said or None,
    )


def _paused_by_operator(members: _Members) -> Group:
    _, handler = members.key
    reasons = Counter(why.view.reason for why in members.explained if why.view.reason)
    given = f": {reasons.most_common(1)[0][0][:_LONGEST_ERROR]}" if len(reasons) == 1 else ""
    return members.group(
        Trouble.PAUSED_BY_OPERATOR,
        Urgency.NOTICE,
        f"{_of(members, handler)} {_be(members)} paused by a person{given}",
        [
            durablectl(
                "wf", "resume", "--handler", handler, "--reason", ReasonCode.PAUSED_BY_OPERATOR, purpose="continue"
            )
        ],
        handler=handler,
        reason=reasons.most_common(1)[0][0] if reasons else None,
    )


def _waiting(members: _Members) -> Group:
    kind, name, handler = members.key
    view = members.explained[0].view
    awaited = view.waiting_for.awaited_id if view.waiting_for is not None else ""
    is_awakeable = kind == WaitKind.AWAKEABLE
    words = ("wf", "resolve", awaited or "AWAKEABLE") if is_awakeable else ("wf", "signal", view.invocation_id, name)
    return members.group(
        Trouble.WAITING_FOR_PERSON,
        Urgency.WARNING if members.age > FORGOTTEN_MICROSECONDS else Urgency.NOTICE,
        f"{_of(members, handler)} {_verb(members, 'wait', 'waits')} for {kind} {name}",
        [durablectl(*words, "--data", "JSON", purpose="answer the oldest one"), members.why],
        handler=handler,
        kind=kind,
        name=name,
    )


def _no_processor(members: _Members) -> Group:
    (handler,) = members.key
    numbers = members.work.unserved.get(handler, Counter())
    count = numbers.total() or members.count
    later = [why for why in members.explained if _is_later(why, members.now)]
    is_due = len(later) < len(members.explained) or not later
    states = ", ".join(f"{number:,} {status}" for status, number in numbers.most_common())
    have = "has" if count == 1 else "have"
    return members.group(
        Trouble.NO_PROCESSOR,
        Urgency.ERROR if is_due else Urgency.WARNING,
        f"{counted(count, 'workflow')} of {handler} {have} no live processor with that handler ({states})",
        [
            durablectl("run", "processor", "APP", purpose=f"a processor whose APP defines {handler}"),
            durablectl("wf", "cancel", "--handler", handler, "--status", "active", purpose="or end them"),
        ],
        count=count,
        is_estimate=False,
        handler=handler,
        by_status=dict(numbers),
        first_due_at=min((why.due_since for why in later), default=0),
    )


def _is_later(why: StatusExplanation, now: int) -> bool:
    """Whether it needs a processor at a later time only."""
    return why.view.status in {Status.PENDING, Status.SUSPENDED} and why.due_since > now


def _no_room(members: _Members) -> Group:
    (handler,) = members.key
    able = members.explained[0].serving_processors
    slots = sum(each.slots for each in able)
    backlog = members.work.backlogs.get(handler, Backlog(members.count))
    eta = backlog.eta_seconds
    drains_soon = eta is not None and eta * MICROSECONDS <= PASSING_MICROSECONDS
    is_passing = drains_soon or members.age <= PASSING_MICROSECONDS
    held_by = _holders(members, able)
    whose = (
        f"the {len(able)} live processors with the handler are full" if len(able) > 1 else "its only processor is full"
    )
    count = max(backlog.waiting, members.count)
    return members.group(
        Trouble.NO_ROOM,
        Urgency.NOTICE if is_passing else Urgency.WARNING,
        f"{counted(count, 'workflow')} of {handler} {'waits' if count == 1 else 'wait'} for a slot: "
        f"{whose} ({counted(slots, 'slot')})",
        [
            durablectl("run", "processor", "APP", purpose="more slots"),
            durablectl("wf", "list", "--status", "running", "--oldest-first", purpose="what holds the slots"),
        ],
        count=count,
        recent=backlog.recent,
        is_estimate=False,
        handler=handler,
        slots=slots,
        completed_per_minute=round(backlog.per_minute, 2),
        eta_seconds=eta,
        held_by=held_by,
    )


def _holders(members: _Members, able: Sequence[ProcessorView]) -> list[dict[str, Any]]:
    """The steps that hold the slots of these processors, the most frequent first."""
    ids = {each.processor_id for each in able}
    steps: Counter[tuple[str, str, bool]] = Counter()
    longest: dict[tuple[str, str, bool], int] = {}
    for each in members.work.observed:
        view = each.why.view
        if view.status != Status.RUNNING or view.owner not in ids:
            continue
        key = (view.handler, view.current_step_type, each.why.cause is StatusCause.RETRYING)
        steps[key] += 1
        longest[key] = max(longest.get(key, 0), members.now - view.updated_at)
    return [
        {
            "handler": handler,
            "step": step or None,
            "is_retrying": is_retrying,
            "count": number,
            "longest_seconds": longest[handler, step, is_retrying] // MICROSECONDS,
        }
        for (handler, step, is_retrying), number in steps.most_common(SHOWN)
    ]


def _hung_key(why: StatusExplanation) -> tuple[str, ...]:
    return (why.view.handler, why.view.current_step_type)


def _hung(members: _Members) -> Group:
    handler, step = members.key
    view = members.explained[0].view
    live = members.explained[0].live
    usual = live.usual.get(step, 0)
    where = f"in step {step}" if step else "between steps"
    after = ("--hung-after", f"{live.hung_after / MICROSECONDS:g}s") if live.hung_after else ()
    return members.group(
        Trouble.HUNG,
        Urgency.ERROR,
        f"{_of(members, handler)} {_verb(members, 'hang', 'hangs')} {where}",
        [
            durablectl("wf", "why", members.example, *after, purpose="look at one of them"),
            durablectl("wf", "restart-step", members.example, purpose="interrupt the step, and run it again"),
        ],
        handler=handler,
        step=step or None,
        usual_seconds=round(usual / MICROSECONDS, 3) if usual else None,
        limit_seconds=hung_limit(view, live) // MICROSECONDS,
        processors=sorted({why.view.owner for why in members.explained if why.view.owner}),
    )


def _owner(why: StatusExplanation) -> tuple[str, ...]:
    waits = why.view.waiting_for
    is_takeover = waits is not None and waits.kind == WaitKind.TAKEOVER
    return (waits.name if is_takeover and waits is not None else why.view.owner,)


def _unattended(members: _Members) -> Group:
    (owner,) = members.key
    return members.group(
        Trouble.UNATTENDED,
        Urgency.ERROR,
        f"{counted(members.count, 'workflow')} {_be(members)} running by the records, but {owner} is not at work on "
        f"{'it' if members.count == 1 else 'them'}",
        [durablectl("doctor", "--repair", purpose="have them taken over"), members.why],
        processor=owner,
    )


def _gone(members: _Members) -> Group:
    (owner,) = members.key
    able = [why for why in members.explained if why.serving_processors]
    is_fresh = members.age <= PASSING_MICROSECONDS and bool(able)
    return members.group(
        Trouble.PROCESSOR_GONE,
        Urgency.NOTICE if is_fresh else Urgency.ERROR,
        f"{counted(members.count, 'running workflow')} {'was' if members.count == 1 else 'were'} left by the processor "
        f"{owner}, which is gone",
        [
            durablectl("doctor", "--repair", purpose="have them taken over")
            if able
            else durablectl("run", "processor", "APP", purpose="a processor that takes them over"),
            members.why,
        ],
        processor=owner,
    )


def _not_called(members: _Members) -> Group:
    (handler,) = members.key
    cause, remedy = "although one has room", durablectl("doctor", "--repair", purpose="call for them again")
    if faults := members.work.consumer_faults.get(handler):
        cause = "as " + ", and ".join(faults)
        remedy = durablectl("doctor", "--repair", "--streams", purpose="have it hand out everything again")
    return members.group(
        Trouble.NOT_CALLED,
        Urgency.ERROR if members.age > PASSING_MICROSECONDS else Urgency.WARNING,
        f"{_of(members, handler)} {_be(members)} due, and no processor begins, {cause}",
        [remedy, members.why],
        handler=handler,
    )


_RULES: Mapping[StatusCause, _Rule] = {
    StatusCause.RETRYING: _Rule(_retry, _retrying),
    StatusCause.MISMATCH: _Rule(_paused_key, _paused_by_engine),
    StatusCause.CRASHING: _Rule(_paused_key, _paused_by_engine),
    StatusCause.PAUSED_BY_ENGINE: _Rule(_paused_key, _paused_by_engine),
    StatusCause.PAUSED: _Rule(lambda why: ("", why.view.handler), _paused_by_operator),
    StatusCause.WAITING: _Rule(_wait, _waiting),
    StatusCause.NO_PROCESSOR: _Rule(_handler, _no_processor),
    StatusCause.BUSY: _Rule(_handler, _no_room),
    StatusCause.STUCK: _Rule(_handler, _not_called),
    StatusCause.HUNG: _Rule(_hung_key, _hung),
    StatusCause.UNATTENDED: _Rule(_owner, _unattended),
    StatusCause.ORPHANED: _Rule(_owner, _gone),
}


def _failed(failed: Sequence[Observed], now: int) -> list[Group]:
    """Those that failed lately, by handler and error."""
    clusters: dict[tuple[str, str, str], list[Observed]] = defaultdict(list)
    for each in failed:
        view = each.why.view
        failure = ParsedError.from_view(view)
        clusters[view.handler, view.error_type, normalise(failure.message[:_LONGEST_ERROR])].append(each)
    return [_failed_group(key, those, now) for key, those in clusters.items()]


def _failed_group(key: tuple[str, str, str], those: Sequence[Observed], now: int) -> Group:
    handler, error_type, pattern = key
    members = _Members(key, those, now, Work())
    said = {ParsedError.from_view(why.view).message for why in members.explained}
    message = next(iter(said)) if len(said) == 1 else pattern
    failed = ParsedError.from_view(members.explained[-1].view)
    typed = f"{error_type}: " if error_type and error_type != "StepError" else ""
    return members.group(
        Trouble.FAILED,
        Urgency.WARNING,
        f"{_of(members, handler)} failed: {typed}{message[:_LONGEST_ERROR]}",
        [
            members.why,
            durablectl(
                "wf",
                "retry",
                "--status",
                "failed",
                "--handler",
                handler,
                purpose="continue, once the cause is corrected",
            ),
        ],
        handler=handler,
        error=message,
        error_type=error_type or None,
        step=failed.step_type or None,
    )


_LEFT_OVER = frozenset({DeadReason.DELETED, DeadReason.ENDED})
_HANDLERS_LISTED = 20


def _stray(stray: StrayCommands) -> Iterator[Group]:
    """Commands without a processor and without a workflow; those that merely lie there are a notice."""
    if not stray.total:
        return
    ordered = sorted(stray.by_handler, key=lambda name: (-stray.by_handler[name], name))
    names = ", ".join(ordered[:SHOWN]) + (f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else "")
    commands, be = counted(stray.total, "command"), "is" if stray.total == 1 else "are"
    remove = durablectl("doctor", "--repair", "--commands", purpose="remove those that lead nowhere")
    look = durablectl("doctor", purpose="which ones, and why")
    is_left_over = sum(number for reason, number in stray.dead.items() if reason in _LEFT_OVER) >= stray.total
    yield Group(
        Trouble.COMMANDS_STRAY,
        Urgency.NOTICE if is_left_over else Urgency.WARNING,
        f"{commands} of {names} {be} left over from workflows that have ended or were deleted"
        if is_left_over
        else f"{commands} {be} stored for handlers that no live processor has, and for no workflow that is known: "
        f"{names}",
        count=stray.total,
        remedies=[look, remove],
        details={
            "handlers": {name: stray.by_handler[name] for name in ordered[:_HANDLERS_LISTED]},
            "dead": {str(reason): number for reason, number in stray.dead.items()},
        },
    )


def _of(members: _Members, handler: str) -> str:
    return f"{counted(members.count, 'workflow')} of {handler}"


def _be(members: _Members) -> str:
    return "is" if members.count == 1 else "are"


def _verb(members: _Members, several: str, one: str) -> str:
    return one if members.count == 1 else several
