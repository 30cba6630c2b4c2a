"""What goes wrong with a stream that is configured otherwise than processors need it, and what makes it right.

Pure: configurations as the JetStream API gives them come in.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOUR, _MINUTE = 3600, 60
_UNLIMITED = -1


class StreamKind(Enum):
    """The streams of a namespace, by what is in them; the value says that in the plural."""

    STATES = "records"
    INDEX = "index entries"
    COMMANDS = "commands"
    PROCESSORS = "leases"


class StreamRisk(NamedTuple):
    """A setting that is otherwise than wanted, and what it does.

    ``blocks`` says that work is lost or cannot be done with it. ``change`` is what an update of the stream sets; None
    where the server allows no update.
    """

    setting: str
    actual: str
    wanted: str
    effect: str
    blocks: bool = True
    change: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        told = f"{self.setting} is {self.actual}, wanted {self.wanted}"
        return f"{told}: {self.effect}" if self.effect else told


_LOST = {
    StreamKind.STATES: "workflows, journals and schedules",
    StreamKind.INDEX: "index entries",
    StreamKind.COMMANDS: "commands, timers and schedules",
    StreamKind.PROCESSORS: "leases",
}
_NO_READS = "nothing in it can be read"
_FLAGS = {
    "allow_direct": _NO_READS,
    "allow_msg_ttl": "nothing with a lifetime can be stored, as what has ended under --retention",
    "allow_msg_schedules": "no timer and no schedule can be set",
    "allow_rollup_hdrs": "no schedule can be set, and nothing can be deleted",
}
"""What a flag that is off does."""
_SWITCHES: dict[str, tuple[str, bool]] = {
    "sealed": ("it takes no writes", False),
    "deny_purge": ("nothing can be removed from it", False),
    "no_ack": ("no write is confirmed", True),
    "discard_new_per_subject": ("a second write to a subject is refused", True),
    "allow_msg_counter": ("it takes counters only", False),
}
"""What a switch does that is on, and whether an update can turn it off."""


def find_risks(
    kind: StreamKind, wanted: Mapping[str, Any], existing: Mapping[str, Any], replicas: int = 0
) -> list[StreamRisk]:
    """Every setting of ``existing`` that is a risk; ``replicas`` is how many were asked for, 0 for any number."""
    return [
        *_limits(kind, wanted, existing),
        *_differences(kind, wanted, existing),
        *_switches(existing),
        *_replicas(existing, replicas),
    ]


def _limits(kind: StreamKind, wanted: Mapping[str, Any], existing: Mapping[str, Any]) -> Iterator[StreamRisk]:
    """The limits by which the server drops what is stored, or refuses more."""
    lost = _LOST[kind]
    age, wanted_age = existing.get("max_age") or 0, wanted.get("max_age", 0)
    if age != wanted_age:
        yield StreamRisk(
            "max_age", _age(age), _age(wanted_age), _aging(kind, age, wanted_age), change={"max_age": wanted_age}
        )
    # What the server refuses is told to whoever writes it; what it drops, to nobody.
    drops = existing.get("discard", "old") == "old"
    for setting, unit in (("max_msgs", "messages"), ("max_bytes", "bytes")):
        most = existing.get(setting) or _UNLIMITED
        if most > 0:
            effect = f"the oldest {lost} are dropped" if drops else "writes are refused"
            change = {setting: _UNLIMITED}
            yield StreamRisk(
                setting, f"{most:,}", "no limit", f"beyond {most:,} {unit} {effect}", blocks=drops, change=change
            )
    most = existing.get("max_msgs_per_subject") or _UNLIMITED
    if kind is StreamKind.COMMANDS and most > 0:
        effect = f"of one handler and partition only the newest {most:,} are kept, and the others never run"
        change = {"max_msgs_per_subject": _UNLIMITED}
        yield StreamRisk("max_msgs_per_subject", f"{most:,}", "no limit", effect, change=change)
    size = existing.get("max_msg_size") or _UNLIMITED
    if size > 0:
        effect = f"{kind.value} of more than {size:,} bytes are refused"
        change = {"max_msg_size": _UNLIMITED}
        yield StreamRisk("max_msg_size", f"{size:,}", "no limit", effect, blocks=False, change=change)
    most = existing.get("max_consumers") or _UNLIMITED
    if most > 0:
        effect = f"more than {most:,} processors, handlers and watchers cannot follow it"
        yield StreamRisk("max_consumers", f"{most:,}", "no limit", effect, blocks=False)


def _aging(kind: StreamKind, age: int, wanted: int) -> str:
    if kind is StreamKind.PROCESSORS:
        if not age:
            return "the lease of a processor that died never expires, and nothing is taken over"
        return f"a processor counts as dead {_age(age)} after its last word"
    if kind is StreamKind.COMMANDS:
        return f"commands older than {_age(age)} are dropped: timers beyond that never fire"
    return f"{_LOST[kind]} not written for {_age(age)} are dropped" if age > wanted else ""


def _differences(kind: StreamKind, wanted: Mapping[str, Any], existing: Mapping[str, Any]) -> Iterator[StreamRisk]:
    """The settings that have to be as wanted, but for the limits."""
    for setting, value in wanted.items():
        actual = existing.get(setting)
        is_same = set(value) == set(actual or ()) if isinstance(value, list) else actual == value
        if setting in {"name", "max_age"} or is_same or not (value or actual):
            continue
        change: Mapping[str, Any] | None = {setting: value}
        if setting == "storage" or (setting == "retention" and "workqueue" in {value, actual}):
            change = None
        # Once set, the server does not take it back; unset, it only protects from mistakes.
        blocks = setting not in {"deny_delete", "duplicate_window"} or kind is StreamKind.STATES
        yield StreamRisk(
            setting, _shown(setting, actual), _shown(setting, value), _effect(kind, setting, actual), blocks, change
        )


def _effect(kind: StreamKind, setting: str, actual: Any) -> str:
    lost = _LOST[kind]
    retention = f"{lost} are dropped once no consumer follows them"
    if kind is StreamKind.COMMANDS and actual != "interest":
        retention = "commands that are done with stay"
    effects = {
        **_FLAGS,
        "storage": f"all {lost} are gone when the server restarts",
        "retention": retention,
        "discard": f"a full stream drops the oldest {lost}",
        "subjects": f"some {kind.value} are stored nowhere, or other messages here",
        "max_msgs_per_subject": "old versions are kept",
        "duplicate_window": "what is sent twice may be stored twice",
    }
    return effects.get(setting, "")


def _switches(existing: Mapping[str, Any]) -> Iterator[StreamRisk]:
    for setting, (effect, can_change) in _SWITCHES.items():
        if existing.get(setting):
            yield StreamRisk(setting, "True", "False", effect, change={setting: False} if can_change else None)
    if existing.get("mirror"):
        yield StreamRisk("mirror", str(existing["mirror"].get("name", "")), "none", "it takes no writes")
    if existing.get("subject_transform"):
        effect = "messages are stored under other subjects"
        yield StreamRisk("subject_transform", "set", "none", effect, change={"subject_transform": None})
    if existing.get("persist_mode") == "async":
        effect = "writes that were confirmed may be lost when the server dies"
        yield StreamRisk("persist_mode", "async", "default", effect, blocks=False)


def _replicas(existing: Mapping[str, Any], asked: int) -> Iterator[StreamRisk]:
    number = existing.get("num_replicas", 1)
    if asked and number != asked:
        effect = f"it survives the loss of {_servers((number - 1) // 2)}, not of {_servers((asked - 1) // 2)}"
        change = {"num_replicas": asked}
        told = effect if number < asked else ""
        yield StreamRisk("num_replicas", str(number), str(asked), told, blocks=True, change=change)


def _servers(number: int) -> str:
    return {0: "no server", 1: "1 server"}.get(number, f"{number} servers")


def _shown(setting: str, value: Any) -> str:
    if setting == "duplicate_window":
        return _age(value or 0)
    if isinstance(value, list):
        return ", ".join(sorted(value))
    return str(value)


def _age(nanoseconds: int) -> str:
    """``24 h``, ``90 s``, or ``none``."""
    seconds = nanoseconds / NANOSECONDS
    if not seconds:
        return "none"
    for size, unit in ((_HOUR, "h"), (_MINUTE, "min")):
        if seconds % size == 0:
            return f"{seconds // size:g} {unit}"
    return f"{seconds:g} s"
