"""What is wrong beneath the workflows: streams, processors, schedules, clocks. Pure: what was read comes in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import CLOCK_TOLERANCE, MICROSECONDS
from durablectl.query.trouble import SHOWN, Group, Remedy, Trouble, Urgency, counted, durablectl
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from durablectl.model.schedules import Schedule
    from durablectl.query.views import LostProcessorView, ProcessorView
    from durablectl.storage.diagnosis.inspection import StreamCondition
    from durablectl.storage.diagnosis.room import FullStore

_FLAPPING = 3
"""So many deaths of processors with the same handlers on one host, in an hour, are a pattern."""


class LostRecords(NamedTuple):
    """How many workflows of the index have no record in ``stream``, and the ids of some."""

    stream: str
    number: int
    examples: Sequence[str]
    is_estimate: bool = False


LATE_FIRE_MICROSECONDS = 60 * MICROSECONDS
"""A schedule that has not fired so long after it should have is late."""


@dataclass(frozen=True)
class Plumbing:
    """What was read. ``clock_ahead`` is by how much the reader's clock is ahead of the server's (microseconds).

    ``armed`` are the names of the schedules that the server will fire. ``set_aside`` counts unreadable commands.
    ``lost_records`` are the workflows of the index whose records are lost.
    """

    processors: Sequence[ProcessorView] = ()
    lost: Sequence[LostProcessorView] = ()
    streams: Sequence[StreamCondition] = ()
    schedules: Sequence[Schedule] = ()
    armed: Collection[str] = field(default_factory=frozenset)
    clock_ahead: int = 0
    set_aside: int = 0
    full: FullStore | None = None
    lost_records: LostRecords | None = None


def groups_of_plumbing(plumbing: Plumbing, now: int) -> list[Group]:
    """Every group; ``now`` in microseconds, by the server's clock."""
    return [
        *_full_store(plumbing.full),
        *_streams(plumbing.streams),
        *_lost_records(plumbing.lost_records),
        *_blocked(plumbing.processors),
        *_lost(plumbing),
        *_versions(plumbing.processors),
        *_schedules(plumbing, now),
        *_clock(plumbing.clock_ahead),
        *_clocks(plumbing.processors),
        *_set_aside(plumbing.set_aside),
    ]


def _full_store(full: FullStore | None) -> Iterator[Group]:
    if full is None:
        return
    if full.needs_restart:
        restart = Remedy(("systemctl", "restart", "nats-server"), "there, once its disk has room")
        remedies = [restart, durablectl("doctor", purpose="what has stopped, and what to do")]
    else:
        doctor = durablectl("doctor", purpose="what is full, and which limit to raise")
        delete = durablectl("wf", "delete", "--status", "completed", purpose="make room: deleting needs none")
        remedies = [delete, doctor]
    yield Group(
        Trouble.STORE_FULL,
        Urgency.ERROR,
        full.sentence,
        count=full.silent,
        since=full.since,
        remedies=remedies,
        details={"silent_processors": full.silent, "needs_restart": full.needs_restart},
    )


def _streams(conditions: Sequence[StreamCondition]) -> Iterator[Group]:
    doctor = durablectl("doctor", purpose="which workflows that concerns, and what to do")
    repair = durablectl("doctor", "--repair", "--streams", purpose="give it the configuration it needs")
    create = durablectl("doctor", "--repair", "--streams", purpose="create it, as a processor does, too")
    is_listed = any(each.kind is StreamKind.INDEX and each.messages for each in conditions)
    for condition in conditions:
        details = {"stream": condition.name, "differences": list(condition.differences)}
        if not condition.exists:
            yield Group(
                Trouble.STREAM_LOST,
                Urgency.ERROR,
                f"The stream {condition.name} does not exist",
                # Beside an index that lists workflows, an empty stream of records is in the way of a restore.
                remedies=[doctor] if condition.kind is StreamKind.STATES and is_listed else [create, doctor],
                details=details,
            )
        elif condition.differences:
            yield Group(
                Trouble.STREAM_WRONG,
                Urgency.ERROR if any(risk.blocks for risk in condition.risks) else Urgency.WARNING,
                f"The stream {condition.name} is not configured as processors need it: "
                f"{'; '.join(condition.differences)}",
                remedies=[repair, doctor],
                details=details,
            )
        if condition.late:
            yield Group(
                Trouble.REPLICA_LATE,
                Urgency.WARNING,
                f"{counted(len(condition.late), 'replica')} of {condition.name} offline, or behind: "
                f"{', '.join(condition.late)}",
                count=len(condition.late),
                remedies=[Remedy(("nats", "server", "report", "jetstream"), "the state of the servers")],
                details={"stream": condition.name, "replicas": list(condition.late)},
            )


def _lost_records(lost: LostRecords | None) -> Iterator[Group]:
    if lost is not None:
        have = "workflow of the index has" if lost.number == 1 else "workflows of the index have"
        yield Group(
            Trouble.RECORDS_LOST,
            Urgency.ERROR,
            f"{lost.number:,} {have} no record: {lost.stream} looks purged, or lost",
            count=lost.number,
            is_estimate=lost.is_estimate,
            examples=lost.examples,
            remedies=[
                durablectl("doctor", purpose="which ones, and what to restore from a backup"),
                durablectl("doctor", "--repair", "--forget-lost", purpose="forget them, where there is no backup"),
            ],
            details={"stream": lost.stream},
        )


def _blocked(processors: Sequence[ProcessorView]) -> Iterator[Group]:
    for each in processors:
        if each.blocked_since:
            yield Group(
                Trouble.LOOP_BLOCKED,
                Urgency.ERROR,
                f"The event loop of {each.processor_id} is blocked by {each.blocked_by}",
                since=each.blocked_since,
                examples=[each.processor_id],
                remedies=[durablectl("processors", purpose="the live processors")],
                details={"processor": each.processor_id, "busy": each.busy, "blocked_by": each.blocked_by},
            )


def _lost(plumbing: Plumbing) -> Iterator[Group]:
    """Those that are gone, and those of one place that die, or fall silent, again and again."""
    served = {handler for each in plumbing.processors for handler in each.handlers}
    places: dict[tuple[str, tuple[str, ...]], list[LostProcessorView]] = defaultdict(list)
    for each in plumbing.lost:
        places[each.host, tuple(each.handlers)].append(each)
    show = durablectl("processors", purpose="who died, when, and what it held")
    for (host, handlers), those in places.items():
        last = those[0]
        names = [each.processor_id for each in those]
        details = {
            "host": host or None,
            "handlers": list(handlers),
            "held": sum(each.held for each in those),
            "held_ids": list(last.held_ids),
            "lost_at": last.lost_at,
        }
        restart = durablectl("run", "processor", "APP", purpose="start it again, once its log says why it died")
        common: dict[str, Any] = {"count": len(those), "examples": names[:SHOWN], "details": details}
        if len(those) >= _FLAPPING:
            yield Group(
                Trouble.PROCESSOR_FLAPPING,
                Urgency.WARNING,
                f"{len(those)} processors{f' of {host}' if host else ''} died or were silent within an hour, the last "
                f"one {last.processor_id}",
                since=min(each.lost_at for each in those),
                remedies=[show],
                **common,
            )
        elif gone := [each for each in those if not each.returned_at]:
            is_replaced = served.issuperset(handlers)
            ran = f", while it ran {counted(last.held, 'workflow')}" if len(gone) == 1 else ""
            what = f"The processor {gone[0].processor_id}" if len(gone) == 1 else f"{len(gone)} processors of {host}"
            yield Group(
                Trouble.PROCESSOR_LOST,
                Urgency.NOTICE if is_replaced else Urgency.WARNING,
                f"{what} died or went silent{ran}",
                since=min(each.lost_at for each in gone),
                remedies=[show] if is_replaced else [restart, show],
                **{**common, "count": len(gone)},
            )


def _clocks(processors: Sequence[ProcessorView]) -> Iterator[Group]:
    for each in processors:
        if each.has_wrong_clock:
            ahead = each.clock_error
            yield Group(
                Trouble.CLOCK_OFF,
                Urgency.WARNING,
                f"The clock of {each.host or 'the machine'} of the processor {each.processor_id} is "
                f"{abs(ahead) / MICROSECONDS:,.0f} s {'ahead of' if ahead > 0 else 'behind'} that of the NATS server",
                examples=[each.processor_id],
                remedies=[Remedy(("timedatectl", "set-ntp", "true"), "there, to set the clock by a time server")],
                details={"processor": each.processor_id, "ahead_seconds": round(ahead / MICROSECONDS, 3)},
            )


def _versions(processors: Sequence[ProcessorView]) -> Iterator[Group]:
    """Handlers that processors of several versions run, those of the same versions together."""
    versions: dict[str, set[str]] = defaultdict(set)
    for each in processors:
        for handler in each.handlers:
            versions[handler].add(_version(each))
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for handler, found in versions.items():
        if len(found) > 1:
            groups[tuple(sorted(found))].append(handler)
    for those, handlers in groups.items():
        running = [each for each in processors if {*handlers} & {*each.handlers}]
        newest = max(running, key=lambda each: each.started_at)
        names = ", ".join(version or "(none)" for version in those)
        yield Group(
            Trouble.VERSION_SKEW,
            Urgency.NOTICE,
            f"Processors of {len(those)} versions run {_some(handlers)}: {names}",
            count=len(running),
            since=newest.started_at,
            examples=[each.processor_id for each in running][:3],
            remedies=[durablectl("processors", "-o", "wide", purpose="which processor has which version")],
            details={"versions": list(those), "handlers": sorted(handlers)},
        )


def _version(each: ProcessorView) -> str:
    """That of durablectl, and where it has one, that of the app, which is what a deployment changes."""
    return f"{each.version} (app {each.app_version})".lstrip() if each.app_version else each.version


def _schedules(plumbing: Plumbing, now: int) -> Iterator[Group]:
    served = {handler for each in plumbing.processors for handler in each.handlers}
    for schedule in plumbing.schedules:
        if schedule.paused:
            continue
        show = durablectl("schedule", "get", schedule.name, purpose="when it fired, and what came of it")
        details = {"schedule": schedule.name, "handler": schedule.handler, "last_fired_at": schedule.last_fired_at}
        if schedule.name not in plumbing.armed:
            yield Group(
                Trouble.SCHEDULE_DEAD,
                Urgency.ERROR,
                f"The schedule {schedule.name} will never fire: its message is gone from the server",
                since=schedule.last_fired_at or schedule.created_at,
                examples=[schedule.name],
                remedies=[durablectl("doctor", "--repair", purpose="arm it again"), show],
                details=details,
            )
        elif schedule.handler not in served:
            yield Group(
                Trouble.SCHEDULE_DEAD,
                Urgency.ERROR,
                f"The schedule {schedule.name} starts nothing: no live processor has its handler {schedule.handler}",
                since=schedule.last_fired_at or schedule.created_at,
                examples=[schedule.name],
                remedies=[
                    durablectl("run", "processor", "APP", purpose=f"a processor whose APP defines {schedule.handler}"),
                    durablectl("schedule", "pause", schedule.name, purpose="or pause it"),
                ],
                details=details,
            )
        elif (due := _missed(schedule, now)) is not None:
            yield Group(
                Trouble.SCHEDULE_LATE,
                Urgency.ERROR,
                f"The schedule {schedule.name} has not fired when it was due",
                since=due,
                examples=[schedule.name],
                remedies=[show, durablectl("schedule", "trigger", schedule.name, purpose="fire it now")],
                details={**details, "due_at": due},
            )


def _missed(schedule: Schedule, now: int) -> int | None:
    """When it should have fired, if that is longer ago than a busy processor takes."""
    due = schedule.next_after(schedule.last_fired_at or schedule.created_at)
    return due if due and due + LATE_FIRE_MICROSECONDS < now else None


def _clock(ahead: int) -> Iterator[Group]:
    if abs(ahead) > CLOCK_TOLERANCE:
        direction = "ahead of" if ahead > 0 else "behind"
        yield Group(
            Trouble.CLOCK_OFF,
            Urgency.WARNING,
            f"The clock of this machine is {abs(ahead) / MICROSECONDS:,.0f} s {direction} that of the NATS server",
            remedies=[Remedy(("timedatectl", "set-ntp", "true"), "set this machine's clock by a time server")],
            details={"processor": None, "ahead_seconds": round(ahead / MICROSECONDS, 3)},
        )


def _set_aside(number: int) -> Iterator[Group]:
    if number:
        yield Group(
            Trouble.COMMANDS_UNREADABLE,
            Urgency.WARNING,
            f"{counted(number, 'command')} could not be read, and {'was' if number == 1 else 'were'} set aside",
            count=number,
            remedies=[durablectl("doctor", purpose="which ones, and how to remove them")],
        )


def _some(names: Sequence[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
