"""Which workflows a query is about, and the one declaration of the filters that say so.

A new filter is a row of ``FILTERS``, a field of ``Filters`` and its line in ``Filters.match``; the CLI's flags, the
HTTP parameters and the command that ``wf errors`` prints follow. The keywords of ``Client`` are typed by hand, and a
test holds them against the rows.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK, to_rfc3339
from durablectl.model.json_condition import parse_condition
from durablectl.model.kinds import WaitingFor
from durablectl.model.names import is_system_handler, validate_name
from durablectl.model.records import Payload
from durablectl.model.status import ACTIVE, Status
from durablectl.model.text import did_you_mean
from durablectl.model.user_input import parse_ago, parse_past_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    class Filterable(Protocol):
        """What filters ask of a record, or of a view of one."""

        @property
        def status(self) -> str: ...
        @property
        def handler(self) -> str: ...
        @property
        def partition_key(self) -> str: ...
        @property
        def created_at(self) -> int: ...
        @property
        def updated_at(self) -> int: ...
        @property
        def error(self) -> str: ...
        @property
        def parent_id(self) -> str: ...
        @property
        def waiting_kinds(self) -> Collection[str]: ...
        @property
        def due_at(self) -> int: ...
        @property
        def step_names(self) -> Collection[str]: ...
        @property
        def owner(self) -> str: ...
        @property
        def reason(self) -> str: ...
        @property
        def reason_code(self) -> str: ...
        @property
        def input(self) -> Any: ...
        @property
        def invocation_id(self) -> str: ...


class FilterKind(StrEnum):
    """The values that a filter takes, as the CLI's help writes them."""

    STATUS = "STATUS"
    HANDLER = "HANDLER"
    KEY = "KEY"
    TIME = "TIME"
    TEXT = "TEXT"
    WAIT = "WHAT"
    CONDITION = "CONDITION"
    STEP = "STEP"
    PROCESSOR = "PROCESSOR"
    PREFIX = "PREFIX"
    ID = "ID"


class FilterDeclaration(NamedTuple):
    """One filter for all that offer it.

    ``name`` is the HTTP parameter and the keyword of ``Client``, and with ``--`` the CLI's flag; ``field`` is that of
    ``Filters``. ``help`` is the CLI's text, ``description`` the one of the HTTP API, with an ``example``. A filter that
    ``reads_records`` asks for what the index does not hold, of workflows with one of ``statuses`` if there are any.
    """

    name: str
    field: str
    kind: FilterKind
    help: str
    description: str
    example: str
    reads_records: bool = False
    statuses: frozenset[str] = frozenset()

    @property
    def is_repeatable(self) -> bool:
        """Whether it takes several values, any of which matches."""
        return self.kind in {FilterKind.STATUS, FilterKind.HANDLER, FilterKind.WAIT}


FILTERS = (
    FilterDeclaration(
        "status",
        "statuses",
        FilterKind.STATUS,
        "Only this status; repeatable. 'active' stands for all that have not ended.",
        "Repeatable, or separated by commas; `active` stands for all that have not ended.",
        "failed",
    ),
    FilterDeclaration(
        "handler",
        "handlers",
        FilterKind.HANDLER,
        "Only this handler; repeatable.",
        "Repeatable, or separated by commas.",
        "checkout",
    ),
    FilterDeclaration(
        "partition_key",
        "partition_key",
        FilterKind.KEY,
        "Only this partition key.",
        "Only this partition key.",
        "user-001",
    ),
    FilterDeclaration(
        "since",
        "since",
        FilterKind.TIME,
        "Last changed at this time or later: 2h (ago), 2026-11-22 or RFC 3339.",
        "Last changed at this time or later.",
        "2h",
    ),
    FilterDeclaration(
        "until",
        "until",
        FilterKind.TIME,
        "Last changed before this time.",
        "Last changed before this time.",
        "2026-11-22T12:00:00Z",
    ),
    FilterDeclaration(
        "created_since",
        "created_since",
        FilterKind.TIME,
        "Created at this time or later; reads more than it shows.",
        "Created at this time or later.",
        "2026-11-22",
        reads_records=True,
    ),
    FilterDeclaration(
        "created_until",
        "created_until",
        FilterKind.TIME,
        "Created before this time; reads more than it shows.",
        "Created before this time.",
        "1d12h",
        reads_records=True,
    ),
    FilterDeclaration(
        "error",
        "error",
        FilterKind.TEXT,
        "Failed with an error that holds this, whatever the case; reads all failed ones.",
        "Failed with an error that holds this, whatever the case.",
        "card declined",
        reads_records=True,
        statuses=frozenset({Status.FAILED}),
    ),
    FilterDeclaration(
        "parent",
        "parent",
        FilterKind.ID,
        "Only the children of this workflow.",
        "Only the children of this workflow.",
        "abc-123",
        reads_records=True,
    ),
    FilterDeclaration(
        "waiting_for",
        "waiting_for",
        FilterKind.WAIT,
        f"Only what waits for this ({', '.join(WaitingFor)}); repeatable.",
        f"Repeatable, or separated by commas: {', '.join(f'`{kind}`' for kind in WaitingFor)}.",
        "retry",
    ),
    FilterDeclaration(
        "reason",
        "reason",
        FilterKind.TEXT,
        "Paused or cancelled for a reason that holds this, or with this reason code; reads all of these.",
        "Paused or cancelled for a reason that holds this, whatever the case, or with this reason code.",
        "mismatch",
        reads_records=True,
        statuses=frozenset({Status.PAUSED, Status.CANCELLED}),
    ),
    FilterDeclaration(
        "step",
        "step",
        FilterKind.STEP,
        "At this step, or failed with it; reads what has not ended or has failed.",
        "At this step or wait, or failed with it.",
        "charge",
        reads_records=True,
        statuses=frozenset({Status.RUNNING, Status.SUSPENDED, Status.PAUSED, Status.FAILED}),
    ),
    FilterDeclaration(
        "owner",
        "owner",
        FilterKind.PROCESSOR,
        "Held by this processor; reads what runs or is paused.",
        "Held by the processor with this id.",
        "worker-1-4f2a",
        reads_records=True,
        statuses=frozenset({Status.RUNNING, Status.PAUSED}),
    ),
    FilterDeclaration(
        "input",
        "input",
        FilterKind.TEXT,
        "With an input whose JSON holds this text, whatever the case; reads all that other filters leave.",
        "With an input whose JSON holds this text, whatever the case.",
        "user-001",
        reads_records=True,
    ),
    FilterDeclaration(
        "input_json",
        "input_json",
        FilterKind.CONDITION,
        "With an input for which this holds, as in jq: '.user == \"u1\"'; reads all that other filters leave.",
        "With an input for which this condition in a subset of jq holds.",
        '.user == "u1"',
        reads_records=True,
    ),
    FilterDeclaration(
        "id_prefix",
        "id_prefix",
        FilterKind.PREFIX,
        "With an id that begins with this; goes through the index.",
        "With an id that begins with this.",
        "order-2026-",
        reads_records=True,
    ),
)


def flag_of(name: str) -> str:
    """The CLI's flag for the filter ``name``."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Filters:
    """Empty fields match everything. Make it with ``Filters.parse`` from what a user typed.

    Moments are microseconds since the epoch: ``since`` and ``until`` of the last change, ``created_since`` and
    ``created_until`` of the creation; what happened at ``since`` is in, what happened at ``until`` is not. ``error`` is
    a part of the error, whatever the case; only what has failed has one.
    """

    statuses: frozenset[str] = frozenset()
    handlers: frozenset[str] = frozenset()
    partition_key: str = ""
    since: int = 0
    until: int = 0
    created_since: int = 0
    created_until: int = 0
    error: str = ""
    parent: str = ""
    waiting_for: frozenset[str] = frozenset()
    reason: str = ""
    step: str = ""
    owner: str = ""
    input: str = ""
    input_json: str = ""
    id_prefix: str = ""
    ago: Mapping[str, int] = field(default_factory=dict, compare=False)
    """The moments among these fields that were given as so long ago (microseconds): see ``at``."""

    @classmethod
    def parse(
        cls,
        statuses: Iterable[str] = (),
        handlers: Iterable[str] = (),
        *,
        partition_key: str = "",
        since: int = 0,
        until: int = 0,
        created_since: int = 0,
        created_until: int = 0,
        error: str = "",
        parent: str = "",
        waiting_for: Iterable[str] = (),
        reason: str = "",
        step: str = "",
        owner: str = "",
        input: str = "",
        input_json: str = "",
        id_prefix: str = "",
        ago: Mapping[str, int] | None = None,
        label: Callable[[str], str] = flag_of,
    ) -> Filters:
        """``active`` stands for every status that is not terminal. UsageError lists the statuses there are.

        ``label`` is how its message calls a filter. What compares a moment with one so long ago, in ``ago``, is left to
        ``at``.
        """
        expanded: set[str] = set()
        for status in statuses:
            if status == "active":
                expanded |= ACTIVE
            elif status in frozenset(Status):
                expanded.add(Status(status))
            else:
                raise _unknown_status(status)
        if partition_key:
            validate_name("partition key", partition_key)
        if parent:
            validate_name("parent's invocation id", parent)
        if owner:
            validate_name("processor id", owner)
        if id_prefix:
            validate_name("prefix of ids", id_prefix)
        if input_json:
            parse_condition(input_json)
        parsed = cls(
            frozenset(expanded),
            frozenset(validate_name("handler", handler) for handler in handlers),
            partition_key,
            since,
            until,
            created_since,
            created_until,
            error,
            parent,
            frozenset(_waiting_kind(kind) for kind in waiting_for),
            reason,
            step,
            owner,
            input,
            input_json,
            id_prefix,
            ago or {},
        )
        _check_times(parsed, label, only_alike=True)
        return parsed

    def at(self, now: int, label: Callable[[str], str] = flag_of) -> Filters:
        """The same with what was given as so long ago counted from ``now``. UsageError as ``parse``."""
        moments = {name: max(1, now - microseconds) for name, microseconds in self.ago.items()}
        moved = replace(self, **moments)  # type: ignore[arg-type]  # the names of fields
        _check_times(moved, label)
        return moved

    @property
    def is_bounded(self) -> bool:
        """Whether it asks for the time of the last change."""
        return bool(self.since or self.until)

    @property
    def needs_states(self) -> bool:
        """Whether the index does not say enough, so that every state that may match must be read."""
        return any(getattr(self, each.field) for each in FILTERS if each.reads_records)

    @property
    def possible_statuses(self) -> frozenset[str] | None:
        """The statuses of what can match: empty for any, None where nothing can."""
        possible = self.statuses
        for each in FILTERS:
            if each.statuses and getattr(self, each.field):
                possible = possible & each.statuses if possible else each.statuses
                if not possible:
                    return None
        return possible

    @property
    def asks_for_input(self) -> bool:
        return bool(self.input or self.input_json)

    def match(self, workflow: Filterable, changed_at: int = 0) -> bool:
        """``changed_at`` stands in for records of other implementations, which do not say it.

        The workflows of durablectl's own match only where their handler is named. The input of a record is encoded:
        match_input is to be asked as well, with the decoded one.
        """
        return self._match_index(workflow, changed_at) and (
            (not self.error or self._has_error(workflow))
            and (not self.reason or self._has_reason(workflow))
            and (not self.step or self._is_at_step(workflow))
            and (not self.owner or workflow.owner == self.owner)
            and workflow.invocation_id.startswith(self.id_prefix)
            and (not self.asks_for_input or isinstance(workflow.input, Payload) or self.match_input(workflow.input))
        )

    def match_input(self, value: Any) -> bool:
        """Whether an input, as JSON data, matches."""
        if self.input_json and not parse_condition(self.input_json)(value):
            return False
        wanted = self.input.casefold()
        return not wanted or any(
            wanted in json.dumps(value, ensure_ascii=False, separators=separators).casefold()
            for separators in ((",", ":"), (", ", ": "))
        )

    def _match_index(self, workflow: Filterable, changed_at: int) -> bool:
        return (
            (not self.statuses or workflow.status in self.statuses)
            and (workflow.handler in self.handlers if self.handlers else not is_system_handler(workflow.handler))
            and (not self.partition_key or workflow.partition_key == self.partition_key)
            and _within(workflow.updated_at or changed_at, self.since, self.until)
            and _within(workflow.created_at, self.created_since, self.created_until)
            and (not self.parent or workflow.parent_id == self.parent)
            and (not self.waiting_for or self._waits(workflow))
        )

    def _waits(self, workflow: Filterable) -> bool:
        """What is suspended keeps its kind until it is taken; a delayed start that is due waits for a processor."""
        is_due = 0 < workflow.due_at <= SYSTEM_CLOCK.now()
        if is_due and WaitingFor.PROCESSOR in self.waiting_for:
            return True
        if is_due and workflow.status == Status.PENDING:
            return False
        return not self.waiting_for.isdisjoint(workflow.waiting_kinds)

    def _has_reason(self, workflow: Filterable) -> bool:
        wanted = self.reason.casefold()
        return workflow.status in {Status.PAUSED, Status.CANCELLED} and (
            wanted in workflow.reason.casefold() or wanted == workflow.reason_code
        )

    def _is_at_step(self, workflow: Filterable) -> bool:
        """A wait is named with or without its kind: ``signal:go`` or ``go``."""
        if workflow.status in {Status.COMPLETED, Status.CANCELLED, Status.PENDING}:
            return False
        return any(self.step in {name, name.partition(":")[2]} for name in workflow.step_names)

    def _has_error(self, workflow: Filterable) -> bool:
        return workflow.status == Status.FAILED and self.error.casefold() in workflow.error.casefold()


def parse_filters(given: Mapping[str, str | Sequence[str] | None], label: Callable[[str], str] = flag_of) -> Filters:
    """The filters that these texts state, by name: None for one that was not given, a list for a repeatable one.

    UsageError calls a filter what ``label`` makes of its name. It refuses an empty text, which would match everything.
    What was so long ago is by the clock of this machine, until ``Filters.at`` says otherwise.
    """
    now = SYSTEM_CLOCK.now()
    values: dict[str, Any] = {}
    ago: dict[str, int] = {}
    for each in FILTERS:
        value = given.get(each.name)
        if value is None:
            continue
        if value == "":
            raise UsageError(f"The {label(each.name)} is empty.", hint="Leave it out to match everything.")
        is_time = each.kind is FilterKind.TIME
        values[each.field] = parse_past_time(str(value), label(each.name), now) if is_time else value
        if is_time and (duration := parse_ago(str(value), label(each.name))) is not None:
            ago[each.field] = duration
    return Filters.parse(**values, ago=ago, label=label)


def to_flags(filters: Filters) -> list[str]:
    """The words of a command line that state these filters, those by time last."""
    words: list[str] = []
    for each in sorted(FILTERS, key=lambda each: each.kind is FilterKind.TIME):
        value = getattr(filters, each.field)
        if each.kind is FilterKind.TIME:
            value = to_rfc3339(value)
        for text in sorted(value) if each.is_repeatable else [value] if value else []:
            words += [flag_of(each.name), text]
    return words


def _within(timestamp_us: int, since: int, until: int) -> bool:
    return since <= timestamp_us < (until or math.inf)


def _check_times(filters: Filters, label: Callable[[str], str], *, only_alike: bool = False) -> None:
    """UsageError where nothing lies between two moments; ``only_alike`` compares none of ``ago`` with another."""
    for first, last in (("since", "until"), ("created_since", "created_until")):
        if not only_alike or (first in filters.ago) == (last in filters.ago):
            _check_order(label(first), getattr(filters, first), label(last), getattr(filters, last))


def _check_order(first: str, since: int, second: str, until: int) -> None:
    if since and until and since >= until:
        raise UsageError(f"The {first} is not before the {second}.", hint="Nothing lies between them.")


def _waiting_kind(kind: str) -> WaitingFor:
    try:
        return WaitingFor(kind)
    except ValueError:
        known = list(map(str, WaitingFor))
        hint = f"{did_you_mean(kind.lower(), known)}Workflows wait for {', '.join(known)}."
        raise UsageError(f"There is no kind of wait {kind!r}.", hint=hint) from None


def _unknown_status(status: str) -> UsageError:
    known = [*map(str, Status), "active"]
    guess = did_you_mean(status.lower(), known)
    return UsageError(f"There is no status {status!r}.", hint=f"{guess}The statuses are {', '.join(known)}.")
