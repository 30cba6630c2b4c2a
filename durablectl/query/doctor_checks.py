"""The findings of a diagnosis: each a sentence, how bad it is, and what to do. Pure: what was read comes in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from durablectl.model.status import Status
from durablectl.query.trouble import Trouble, Urgency
from durablectl.storage.commands.command_queue import UNROUTED
from durablectl.storage.diagnosis.dead_commands import DeadReason
from durablectl.storage.index.comparison import DisagreementKind, is_mass_loss
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from durablectl.query.status import StatusReport
    from durablectl.query.trouble import Group
    from durablectl.storage.diagnosis.dead_commands import DeadCommand
    from durablectl.storage.diagnosis.index_audit import Audit, RunningWorkflow
    from durablectl.storage.diagnosis.inspection import QuarantinedCommand, ServerInfo, StreamCondition
    from durablectl.storage.diagnosis.room import FullStore
    from durablectl.storage.index.comparison import Disagreement
    from durablectl.storage.records.leases import Lease
    from durablectl.storage.subjects import Subjects

_SHOWN = 5
_LOSSES = frozenset({Trouble.PROCESSOR_LOST, Trouble.PROCESSOR_FLAPPING})
_OF_OTHER_CHECKS = _LOSSES | {
    Trouble.STREAM_LOST,
    Trouble.STREAM_WRONG,
    Trouble.RECORDS_LOST,
    Trouble.REPLICA_LATE,
    Trouble.COMMANDS_UNREADABLE,
    Trouble.COMMANDS_STRAY,
    Trouble.CLOCK_OFF,
}
_REPAIR = "Run `durablectl doctor --repair`."
_PROCESSOR = "Start one with `durablectl run processor APP`"


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Check:
    """One finding. ``hint`` is what to do, ``count`` how many it is about.

    ``details`` are more fields of its JSON, the same ones for a name whatever was found; ``lines`` say more
    below the message, on a terminal.
    """

    name: str
    severity: Severity
    message: str
    hint: str = ""
    count: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint or None,
            "count": self.count,
            **self.details,
        }


def connection(server: ServerInfo) -> Check:
    answers = f"it answers in {server.seconds * 1000:.1f} ms"
    message = f"Connected to {server.url}: nats-server {server.version} with JetStream; {answers}."
    details = {"url": server.url, "version": server.version}
    if server.defect:
        return Check(
            "connection", Severity.WARNING, message, "Upgrade nats-server.", details=details, lines=[server.defect]
        )
    return Check("connection", Severity.OK, message, details=details)


def streams(conditions: Sequence[StreamCondition]) -> Check:
    wrong = {
        condition.name: condition.differences if condition.exists else ["it does not exist"]
        for condition in conditions
        if condition.risks or not condition.exists
    }
    if not wrong:
        message = f"The {len(conditions)} streams are configured as they should be."
        return Check("streams", Severity.OK, message, details={"differences": {}})
    is_severe = any(not each.exists or any(risk.blocks for risk in each.risks) for each in conditions)
    return Check(
        "streams",
        Severity.ERROR if is_severe else Severity.WARNING,
        f"{_many(len(wrong), 'stream')} not configured as processors need {'it' if len(wrong) == 1 else 'them'}.",
        _stream_hint(conditions),
        len(wrong),
        {"differences": wrong},
        [f"{name}: {'; '.join(phrases)}" for name, phrases in wrong.items()],
    )


def _stream_hint(conditions: Sequence[StreamCondition]) -> str:
    """What makes them right: by this command, by a processor, or by hand."""
    by_hand = [each.name for each in conditions if any(risk.change is None for risk in each.risks)]
    is_repairable = any(risk.change is not None for each in conditions for risk in each.risks)
    is_listed = any(each.kind is StreamKind.INDEX and each.messages for each in conditions)
    missing = [each for each in conditions if not each.exists]
    to_restore = [each.name for each in missing if is_listed and each.kind is StreamKind.STATES]
    hints = [f"Restore {name} from a backup first (nats stream restore)." for name in to_restore]
    if len(missing) > len(to_restore):
        hints.append("A processor creates what does not exist (durablectl run processor).")
    if is_repairable or len(missing) > len(to_restore) or not (by_hand or to_restore):
        hints.append("Run `durablectl doctor --repair --streams`.")
    if by_hand:
        hints.append(
            f"The server cannot change that of {', '.join(by_hand)}: stop the processors, back up with "
            "`nats stream backup`, delete the stream, start a processor, and run `durablectl doctor --repair`."
        )
    return " ".join(hints)


def room(full: FullStore | None) -> Check:
    """Whether the server stores what is written."""
    details = {
        "silent_processors": 0 if full is None else full.silent,
        "needs_restart": full is not None and full.needs_restart,
    }
    if full is None:
        return Check("room", Severity.OK, "Nothing says that the server has no room.", details=details)
    silent = ""
    if full.silent:
        one = full.silent == 1
        silent = f" {_count(full.silent, 'processor')} cannot store {'its lease' if one else 'their leases'}, and"
        silent += f" {'looks dead though it lives' if one else 'look dead though they live'}."
    hint = _RESTART_HINT if full.needs_restart else _ROOM_HINT
    return Check("room", Severity.ERROR, f"{full.sentence}.{silent}", hint, 1, details)


_ROOM_HINT = (
    "Delete what has ended (durablectl wf delete needs no room), or raise max_file_store of the server, the account's "
    "limit, or max_bytes of the stream. Processors then continue by themselves."
)
_RESTART_HINT = (
    "Free its disk, then restart nats-server: it writes nothing before. Processors then continue by themselves."
)


def replicas(conditions: Sequence[StreamCondition]) -> Check:
    there = [condition for condition in conditions if condition.exists]
    numbers = {condition.name: condition.replicas for condition in there}
    details = {"replicas": numbers}
    late = sorted(f"{name} of {condition.name}" for condition in there for name in condition.late)
    if late:
        message = f"{_many(len(late), 'replica')} offline, or behind."
        hint = "See `nats server report jetstream`, and look after these servers."
        return Check("replicas", Severity.WARNING, message, hint, len(late), details, late)
    if len({*numbers.values()}) > 1:
        message = "The streams do not all have the same number of replicas."
        lines = [f"{name}: {number}" for name, number in numbers.items()]
        hint = "Give each the same with `nats stream edit NAME --replicas N`."
        return Check("replicas", Severity.WARNING, message, hint, min(numbers.values()), details, lines)
    number = max(numbers.values(), default=0)
    if number == 1 and any(condition.is_clustered for condition in there):
        message = "In a cluster of several servers every stream is on one of them only."
        hint = "Give each more with `nats stream edit NAME --replicas 3`."
        return Check("replicas", Severity.WARNING, message, hint, number, details)
    message = f"Every stream has {_count(number, 'replica')}."
    return Check("replicas", Severity.OK, message, count=number, details=details)


def processors(found: Audit, live: Sequence[Lease]) -> Check:
    if live:
        names = sorted({handler for lease in live for handler in lease.handlers})
        message = f"{_count(len(live), 'live processor')} with {_count(len(names), 'handler')}."
        return Check("processors", Severity.OK, message, count=len(live), details={"handlers": names})
    idle = sum(found.statuses[status] for status in (Status.PENDING, Status.RUNNING, Status.SUSPENDED))
    if not idle:
        message = "No live processor, and nothing that needs one."
        return Check("processors", Severity.OK, message, details={"handlers": []})
    verb = "needs" if idle == 1 else "need"
    return Check(
        "processors",
        Severity.WARNING,
        f"No live processor, and {_count(idle, 'workflow')} {verb} one.",
        f"{_PROCESSOR}.",
        details={"handlers": []},
    )


def unserved(waiting: Mapping[str, int], live: Sequence[Lease]) -> Check:
    served = {handler for lease in live for handler in (*lease.handlers, *lease.system_handlers)}
    if live:
        served.add(UNROUTED)
    without = {name: number for name, number in waiting.items() if name not in served}
    if not without:
        message = "Every handler that has commands waiting has a live processor."
        return Check("handlers", Severity.OK, message, details={"handlers": {}})
    commands = f"{_count(sum(without.values()), 'command')} for {_count(len(without), 'handler')}"
    return Check(
        "handlers",
        Severity.WARNING,
        f"{commands} without a live processor {'waits' if sum(without.values()) == 1 else 'wait'}.",
        f"{_PROCESSOR} that defines {'it' if len(without) == 1 else 'them'}, or correct a misspelt name.",
        len(without),
        {"handlers": without},
        [f"{_handler(name)}: {number:,}" for name, number in without.items()],
    )


def backlog(waiting: Mapping[str, int]) -> Check:
    total = sum(waiting.values())
    if not total:
        return Check("commands", Severity.OK, "No command waits for a processor to take it.", details={"waiting": {}})
    most = sorted(waiting, key=lambda name: (-waiting[name], name))
    message = f"{_count(total, 'command')} {'waits' if total == 1 else 'wait'} to be taken by a processor."
    lines = [f"{_handler(name)}: {waiting[name]:,}" for name in most]
    return Check("commands", Severity.OK, message, count=total, details={"waiting": dict(waiting)}, lines=lines)


_DEAD = {
    DeadReason.UNREADABLE: "cannot be read",
    DeadReason.ODD_SUBJECT: "name no handler in their subject",
    DeadReason.DELETED: "are of deleted workflows",
    DeadReason.ENDED: "are of workflows that have ended",
}


def dead_commands(dead: Sequence[DeadCommand]) -> Check:
    """Commands that no processor will ever take."""
    if not dead:
        message = "Every stored command leads to a workflow or schedule."
        return Check("dead_commands", Severity.OK, message, details={"newest": []})
    numbers = Counter(each.reason for each in dead)
    why = ", ".join(f"{number:,} {_DEAD[reason]}" for reason, number in numbers.most_common())
    newest = [*reversed(dead[-_SHOWN:])]
    return Check(
        "dead_commands",
        Severity.WARNING,
        f"{_count(len(dead), 'command')} will never be taken: {why}.",
        "Remove them with `durablectl doctor --repair --commands`.",
        len(dead),
        {"newest": [each._asdict() for each in newest]},
        _and_more([f"{each.sequence} on {each.subject}: {each.reason}" for each in newest], len(dead)),
    )


def workflows(found: Audit) -> Check:
    statuses = dict(found.statuses.most_common())
    told = ", ".join(f"{number:,} {status}" for status, number in statuses.items())
    total = found.statuses.total()
    message = f"{_count(total, 'workflow')}{f': {told}' if told else ''}."
    return Check("workflows", Severity.OK, message, count=total, details={"by_status": statuses})


def work(groups: Sequence[Group]) -> Check:
    """What `status` reports, but for what other checks are about."""
    groups = [group for group in groups if group.trouble not in _OF_OTHER_CHECKS]
    details = {"groups": [group.to_json() for group in groups]}
    bad = [group for group in groups if group.needs_person]
    if not bad:
        noted = f" ({_count(len(groups), 'notice')}: durablectl status)" if groups else ""
        return Check("work", Severity.OK, f"No workflow or schedule needs a person{noted}.", details=details)
    is_error = any(group.urgency == Urgency.ERROR for group in bad)
    first = bad[0].remedies[0].command() if bad[0].remedies else "durablectl status"
    kinds = _count(len(bad), "kind")
    return Check(
        "work",
        Severity.ERROR if is_error else Severity.WARNING,
        f"{kinds} of trouble {'needs' if len(bad) == 1 else 'need'} a person.",
        f"Begin with `{first}`; `durablectl status` has the command for each.",
        len(bad),
        details,
        [group.summary for group in bad],
    )


def clocks(report: StatusReport) -> Check:
    """Whether this machine, and those of the live processors, have the time of the server."""
    off = [group for group in report.groups if group.trouble is Trouble.CLOCK_OFF]
    wrong = [
        {"processor_id": each.details["processor"], "ahead_seconds": each.details["ahead_seconds"]} for each in off
    ]
    details = {"wrong": wrong}
    if not off:
        others = f" and {_count(len(report.processors), 'processor')}" if report.processors else ""
        verb = "agree" if others else "agrees"
        message = f"The clock of this machine{others} {verb} with that of the NATS server."
        return Check("clocks", Severity.OK, message, details=details)
    return Check(
        "clocks",
        Severity.WARNING,
        f"{_many(len(off), 'clock')} not that of the NATS server.",
        "Set these machines' clocks by a time server: `timedatectl set-ntp true`. Processors and commands go by the "
        "server's time meanwhile.",
        len(off),
        details,
        [group.summary for group in off],
    )


def losses(groups: Sequence[Group]) -> Check:
    """The processors that died or went silent in the last hour; not those that were silent once."""
    lost = [group for group in groups if group.trouble in _LOSSES]
    number = sum(group.count for group in lost)
    details = {
        "processor_ids": [name for group in lost for name in group.examples],
        "held": sum(group.details["held"] for group in lost),
    }
    lines = [group.summary for group in lost]
    if not lost:
        return Check(
            "lost_processors", Severity.OK, "No processor has died or gone silent in the last hour.", details=details
        )
    died = f"{_count(number, 'processor')} died or went silent in the last hour"
    if not any(group.needs_person for group in lost):
        message = f"{died}; live ones have {'its' if number == 1 else 'their'} handlers."
        return Check("lost_processors", Severity.OK, message, count=number, details=details, lines=lines)
    return Check(
        "lost_processors",
        Severity.WARNING,
        f"{died}.",
        "See `durablectl processors`, read their logs, and start them again (durablectl run processor APP).",
        number,
        details,
        lines,
    )


def takeover(orphans: Sequence[RunningWorkflow], served: Collection[str]) -> Check:
    """``served`` are the handlers of live processors."""
    if not orphans:
        message = "No workflow is left by a processor that is gone."
        return Check("takeover", Severity.OK, message, details={"invocation_ids": []})
    shown = [f"{each.invocation_id} ({each.handler}), left by {each.owner}" for each in orphans[:_SHOWN]]
    could = any(each.handler in served for each in orphans)
    number = len(orphans)
    message = f"{_count(number, 'running workflow')} {'is' if number == 1 else 'are'} left by processors that are gone"
    return Check(
        "takeover",
        Severity.ERROR if could else Severity.WARNING,
        f"{message}, and {'no live one has taken them over' if could else 'no live one has their handlers'}.",
        "Look into the logs of the live processors." if could else f"{_PROCESSOR} that defines them.",
        number,
        {"invocation_ids": [each.invocation_id for each in orphans[:_SHOWN]]},
        _and_more(shown, number),
    )


def calls(idle: Sequence[str]) -> Check:
    if not idle:
        message = "Every workflow that is to go on by itself has a command or a timer."
        return Check("calls", Severity.OK, message, details={"invocation_ids": []})
    number = len(idle)
    message = f"{_count(number, 'workflow')} would never go on: {'its' if number == 1 else 'their'} commands are gone."
    details = {"invocation_ids": [*idle[:_SHOWN]]}
    return Check("calls", Severity.ERROR, message, _REPAIR, number, details, [_some(idle)])


_SENTENCES = {
    DisagreementKind.MISSING: ("workflow has no entry", "workflows have no entry"),
    DisagreementKind.FOREIGN: (
        "record of another program, or older, has no entry",
        "records of other programs, or older, have no entry",
    ),
    DisagreementKind.OUTDATED: ("entry says what its workflow is not", "entries say what their workflows are not"),
    DisagreementKind.DUPLICATE: ("entry stands beside the right one", "entries stand beside the right ones"),
    DisagreementKind.ORPHANED: ("entry has no workflow", "entries have no workflow"),
    DisagreementKind.MALFORMED: ("subject is no entry", "subjects are no entries"),
}


def index_of(found: Audit, disagreements: Sequence[Disagreement], subjects: Subjects) -> Check:
    if not found.has_index:
        message = f"There is no index: the stream {subjects.index_stream} does not exist."
        hint = "Start a processor to create it, then repair the index."
        return Check(
            "index",
            Severity.ERROR,
            message,
            hint,
            details={"entries": 0, **{str(kind): 0 for kind in DisagreementKind}},
        )
    numbers = Counter(each.kind for each in disagreements)
    earlier = numbers[DisagreementKind.UNNAMED_WAITS] = len(found.unnamed_waits)
    details = {"entries": found.entries, **{str(kind): numbers[kind] for kind in DisagreementKind}}
    gone = numbers[DisagreementKind.ORPHANED]
    if is_mass_loss(gone, found.states):
        names = [each.invocation_id for each in disagreements if each.kind == DisagreementKind.ORPHANED]
        return lost_records(gone, subjects, details, [_some(names)])
    if not disagreements:
        message = f"The index agrees with every workflow ({_count(found.entries, 'entry', 'entries')})."
        # Not wrong, and gone as soon as these workflows move.
        hint = (
            f"{_count(earlier, 'entry', 'entries')} of an earlier version {'does' if earlier == 1 else 'do'} not name "
            f"what {'its workflow waits' if earlier == 1 else 'their workflows wait'} for, which makes --waiting-for "
            "slower: `durablectl doctor --repair` adds it."
        )
        return Check("index", Severity.OK, message, hint if earlier else "", details=details)
    lines = []
    for kind in (kind for kind in _SENTENCES if numbers[kind]):
        names = [each.invocation_id or each.subject for each in disagreements if each.kind == kind]
        lines.append(f"{len(names):,} {_SENTENCES[kind][len(names) > 1]}: {_some(names)}")
    message = f"The index differs from the workflows in {_count(len(disagreements), 'place')}."
    return Check("index", Severity.WARNING, message, _REPAIR, len(disagreements), details, lines)


def lost_records(
    number: int, subjects: Subjects, details: Mapping[str, Any] = MappingProxyType({}), lines: Sequence[str] = ()
) -> Check:
    """The records look purged: what is left of them is the index."""
    verb = "has" if number == 1 else "have"
    return Check(
        "index",
        Severity.ERROR,
        f"{_count(number, 'workflow')} of the index {verb} no record: {subjects.state_stream} looks purged, or lost.",
        f"Restore {subjects.state_stream} from a backup first (nats stream restore). The index is the last list of "
        "what existed: `durablectl doctor --repair` keeps it, and with --forget-lost removes it.",
        number,
        details,
        lines,
    )


def unreadable_workflows(states: StreamCondition, entries: int, subjects: Subjects) -> Check:
    """Nothing can be said of the workflows: the stream of their records is gone, or cannot be read."""
    details: dict[str, Any] = {"by_status": {}}
    if states.exists:
        message = f"The workflows cannot be read: the direct access of {states.name} is off."
        return Check("workflows", Severity.ERROR, message, "Run `durablectl doctor --repair --streams`.", 0, details)
    listed = f", which {subjects.index_stream} lists {entries:,} of" if entries else ""
    message = f"The records of all workflows are gone{listed}: the stream {states.name} does not exist."
    hint = "Restore it from a backup (nats stream restore); without one, a processor creates an empty one."
    return Check("workflows", Severity.ERROR, message, hint, entries, details)


def handler_names(unknown: Sequence[str]) -> Check:
    if not unknown:
        message = "Every handler that has workflows is known by name."
        return Check("handler_names", Severity.OK, message, details={"handlers": []})
    message = f"{_many(len(unknown), 'handler')} not known by name, and missing in `wf stats`."
    lines = [_some(unknown)]
    return Check("handler_names", Severity.WARNING, message, _REPAIR, len(unknown), {"handlers": [*unknown]}, lines)


def records(found: Audit, subjects: Subjects) -> Check:
    number = len(found.unreadable) + len(found.unnamed)
    details = {"unreadable": len(found.unreadable), "unnamed": len(found.unnamed)}
    if not number:
        return Check("records", Severity.OK, "Every record can be read.", details=details)
    lines = [f"{key}: it is no ExecutionState" for key in found.unreadable[:_SHOWN]]
    lines += [f"{key}: its id, handler or partition key cannot be in a subject" for key in found.unnamed[:_SHOWN]]
    bucket = subjects.state_bucket
    hint = f"See one with `nats kv get {bucket} KEY`; remove it with `nats kv del {bucket} KEY`."
    message = f"{_count(number, 'record')} cannot be shown in lists."
    return Check("records", Severity.WARNING, message, hint, number, details, _and_more(lines, number))


def set_aside(number: int, newest: Sequence[QuarantinedCommand], subjects: Subjects) -> Check:
    if not number:
        return Check("set_aside", Severity.OK, "No command had to be set aside.", details={"newest": []})
    stream = subjects.state_stream
    return Check(
        "set_aside",
        Severity.WARNING,
        f"{_count(number, 'command')} could not be read, and {'was' if number == 1 else 'were'} set aside.",
        f"Correct who sends them. See one with `nats stream get {stream} --last-for {subjects.rejected('N')}`; "
        f"forget them with `nats stream purge {stream} --subject '{subjects.rejected('*')}'`.",
        number,
        {"newest": [each._asdict() for each in newest]},
        _and_more([f"{each.sequence} on {each.subject}: {each.reason}" for each in newest], number),
    )


def _handler(name: str) -> str:
    return "of other programs, without a handler" if name == UNROUTED else name


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def _many(number: int, noun: str) -> str:
    return f"{_count(number, noun)} {'is' if number == 1 else 'are'}"


def _and_more(lines: Sequence[str], number: int) -> list[str]:
    return [*lines, *([f"and {number - len(lines):,} more"] if number > len(lines) else [])]
