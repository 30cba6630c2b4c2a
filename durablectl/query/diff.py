"""Two runs beside each other: where they part, in what, and how long each step took."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from durablectl.model.operation_kinds import STARTS_CHILD, WAITS
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.query.views import StepView, WorkflowView


class Aspect(StrEnum):
    """In what a step differs; all but REQUEST make a divergence."""

    PRESENCE = "presence"
    TYPE = "type"
    REQUEST = "request"
    RESULT = "result"
    ERROR = "error"
    STATE = "state"


class _Absent:
    """What one of two values does not have; null is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True)
class ValueChange:
    """``path`` leads to it as in jq, ``.`` for the whole; ``a`` or ``b`` is ABSENT where only the other has it."""

    path: str
    a: Any
    b: Any

    def to_json(self) -> dict[str, Any]:
        """``only_in`` tells what is absent in one of them from what is null there."""
        only_in = "b" if self.a is ABSENT else "a" if self.b is ABSENT else None
        a, b = (None if value is ABSENT else value for value in (self.a, self.b))
        return {"path": self.path, "only_in": only_in, "a": a, "b": b}


@dataclass(frozen=True)
class FieldDifference:
    """A header field; ``changes`` are those within its JSON."""

    name: str
    a: Any
    b: Any
    changes: Sequence[ValueChange] = ()

    def to_json(self) -> dict[str, Any]:
        return {"field": self.name, "a": self.a, "b": self.b, "changes": [change.to_json() for change in self.changes]}


@dataclass(frozen=True)
class StepDifference:
    """``a`` or ``b`` is None where that run did not take the step."""

    step_number: int
    aspects: Sequence[Aspect]
    a: StepView | None
    b: StepView | None
    request: Sequence[ValueChange] = ()
    result: Sequence[ValueChange] = ()

    @property
    def diverges(self) -> bool:
        return any(aspect is not Aspect.REQUEST for aspect in self.aspects)

    @property
    def has_other_outcome(self) -> bool:
        """Whether the runs went other ways here: not only with other values."""
        return any(aspect not in {Aspect.REQUEST, Aspect.RESULT} for aspect in self.aspects)

    def to_json(self) -> dict[str, Any]:
        return {
            "step_number": self.step_number,
            "differs_in": list(self.aspects),
            "a": None if self.a is None else self.a.to_json(),
            "b": None if self.b is None else self.b.to_json(),
            "request": [change.to_json() for change in self.request],
            "result": [change.to_json() for change in self.result],
        }


@dataclass(frozen=True)
class StepDurations:
    """Of one step in both runs, in microseconds."""

    step_number: int
    step_type: str
    a: int
    b: int

    @property
    def ratio(self) -> float | None:
        """``b`` to ``a``; None where ``a`` took no time."""
        return self.b / self.a if self.a else None

    def to_json(self) -> dict[str, Any]:
        return {
            "step_number": self.step_number,
            "step_type": self.step_type,
            "a_ms": self.a / 1000,
            "b_ms": self.b / 1000,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
        }


@dataclass(frozen=True)
class Comparison:
    """``steps`` are all that differ, in the order of their numbers; ``durations`` of those that both have ended."""

    a: WorkflowView
    b: WorkflowView
    header: Sequence[FieldDifference]
    steps: Sequence[StepDifference]
    durations: Sequence[StepDurations]

    @property
    def divergence(self) -> StepDifference | None:
        """The first step with another type, result, error or state, or that only one has."""
        return next((step for step in self.steps if step.diverges), None)

    @property
    def first_other_outcome(self) -> StepDifference | None:
        """The first step that is more than a matter of other values; the divergence itself, or behind it."""
        return next((step for step in self.steps if step.has_other_outcome), None)

    def to_json(self, *, full: bool = False) -> dict[str, Any]:
        """``steps`` is null without ``full``."""
        first, other_outcome = self.divergence, self.first_other_outcome
        return {
            "a": self.a.invocation_id,
            "b": self.b.invocation_id,
            "same_handler": self.a.handler == self.b.handler,
            "header": [each.to_json() for each in self.header],
            "first_divergence": None if first is None else first.to_json(),
            "first_other_outcome": None if other_outcome is None else other_outcome.to_json(),
            "differing_steps": [step.step_number for step in self.steps],
            "durations": [each.to_json() for each in self.durations],
            "steps": [step.to_json() for step in self.steps] if full else None,
        }


def compare(a: WorkflowView, b: WorkflowView) -> Comparison:
    """Both views with their whole journals. Steps are matched by number."""
    first = {step.step_number: step for step in a.journal or ()}
    second = {step.step_number: step for step in b.journal or ()}
    pairs = [(number, first.get(number), second.get(number)) for number in sorted(first.keys() | second.keys())]
    steps = [found for number, one, other in pairs if (found := _step(number, one, other)) is not None]
    durations = [
        StepDurations(number, one.step_type, _duration(one), _duration(other))
        for number, one, other in pairs
        if one is not None
        and other is not None
        and one.step_type == other.step_type
        and _has_duration(one)
        and _has_duration(other)
    ]
    return Comparison(a, b, list(_header(a, b)), steps, durations)


def _header(a: WorkflowView, b: WorkflowView) -> Iterator[FieldDifference]:
    for name in ("handler", "status", "partition_key", "error_type", "error", "reason", "total_steps"):
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            yield FieldDifference(name, one if one != "" else None, other if other != "" else None)
    # What has not completed has no output.
    both_completed = a.status == b.status == Status.COMPLETED
    for name in ("input", *(["output"] if both_completed else []), "workflow_state"):
        one, other = getattr(a, name), getattr(b, name)
        if found := value_changes(one, other):
            yield FieldDifference(name, one, other, found)


def _step(number: int, a: StepView | None, b: StepView | None) -> StepDifference | None:
    if a is None or b is None:
        return StepDifference(number, [Aspect.PRESENCE], a, b)
    aspects = []
    if (a.step_type, a.kind) != (b.step_type, b.kind):
        aspects.append(Aspect.TYPE)
    if is_open(a) != is_open(b):
        aspects.append(Aspect.STATE)
    request = value_changes(a.request, b.request)
    if request:
        aspects.append(Aspect.REQUEST)
    result: list[ValueChange] = []
    # The result of a step that starts a child is the child's id, another one in every run.
    if not (a.kind == b.kind and a.kind in STARTS_CHILD) and not a.error and not b.error:
        result = value_changes(a.response, b.response)
    if result and Aspect.STATE not in aspects:
        aspects.append(Aspect.RESULT)
    if (a.error, a.error_type) != (b.error, b.error_type):
        aspects.append(Aspect.ERROR)
    return StepDifference(number, aspects, a, b, request, result) if aspects else None


def is_open(step: StepView) -> bool:
    """A wait that is not over."""
    return step.kind in WAITS and bool(step.started_at) and not step.finished_at


def _has_duration(step: StepView) -> bool:
    return bool(step.started_at and step.finished_at)


def _duration(step: StepView) -> int:
    """None at all where the clock that ended it was behind that which began it."""
    return max(0, step.finished_at - step.started_at)


def value_changes(a: Any, b: Any, path: str = "") -> list[ValueChange]:
    """What differs between two JSON values. Of lists, those in the middle that are not the same at both ends."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [*a, *(key for key in b if key not in a)]
        return [
            change
            for key in keys
            for change in value_changes(a.get(key, ABSENT), b.get(key, ABSENT), f"{path}{_member(str(key))}")
        ]
    if isinstance(a, list) and isinstance(b, list):
        return _list_changes(a, b, path)
    # In JSON true is not 1.
    if a is not ABSENT and b is not ABSENT and isinstance(a, bool) == isinstance(b, bool) and a == b:
        return []
    return [ValueChange(path or ".", a, b)]


def _list_changes(a: list[Any], b: list[Any], path: str) -> list[ValueChange]:
    """Matched by place behind a common beginning and before a common end; the places are those of ``a`` first."""
    shorter = min(len(a), len(b))
    begin = next((i for i in range(shorter) if value_changes(a[i], b[i])), shorter)
    end = next((i for i in range(shorter - begin) if value_changes(a[-1 - i], b[-1 - i])), shorter - begin)
    left, right = a[begin : len(a) - end], b[begin : len(b) - end]
    return [
        change
        for i in range(max(len(left), len(right)))
        for change in value_changes(
            left[i] if i < len(left) else ABSENT, right[i] if i < len(right) else ABSENT, f"{path}[{begin + i}]"
        )
    ]


def _member(key: str) -> str:
    if key.isidentifier():
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'
