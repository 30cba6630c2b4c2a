"""Bulk operations that processors carry out: what a job is asked for, how far it is, and what it could not change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.errors import UnreadableError, UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.filters import FILTERS, Filters, to_flags
from durablectl.model.status import ACTIVE, TERMINAL, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SMOOTHING = 0.3
"""The weight of the newest batch in the rate."""


class JobOperation(StrEnum):
    """What a job does to each of its workflows."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    RETRY_NOW = "retry-now"
    RESTART = "restart"
    DELETE = "delete"


CHANGEABLE: Mapping[JobOperation, frozenset[Status]] = {
    JobOperation.PAUSE: ACTIVE - {Status.PAUSED},
    JobOperation.RESUME: frozenset({Status.PAUSED}),
    JobOperation.CANCEL: ACTIVE,
    JobOperation.RETRY: frozenset({Status.FAILED, Status.CANCELLED}),
    JobOperation.RESTART: frozenset({Status.FAILED, Status.CANCELLED}),
    JobOperation.DELETE: TERMINAL,
    JobOperation.RETRY_NOW: frozenset({Status.RUNNING, Status.SUSPENDED}),
}
"""The statuses that filters without one stand for."""


class ItemOutcome(StrEnum):
    """What became of one workflow of a job."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    """It was so already."""
    SKIPPED = "skipped"
    """It no longer matched the job's filters when its turn came, or was gone."""
    FAILED = "failed"


REPORTED = (ItemOutcome.FAILED, ItemOutcome.SKIPPED)
"""The outcomes that have a report, with the reason."""


def parse_outcomes(words: Iterable[str]) -> list[ItemOutcome]:
    """The outcomes whose reports are asked for. Raises UsageError for another word."""
    found = []
    for word in words:
        if word not in REPORTED:
            raise UsageError(f"There are no reports of {str(word)[:50]!r}.", hint=f"Use {' or '.join(REPORTED)}.")
        found.append(ItemOutcome(word))
    return found


class ItemReport(NamedTuple):
    """Why a workflow was skipped or failed."""

    invocation_id: str
    outcome: ItemOutcome
    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        return {
            "invocation_id": self.invocation_id,
            "outcome": str(self.outcome),
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True)
class JobSpec:
    """What a job is asked for; the input of its workflow.

    ``total`` workflows are stored with the job, ``per_chunk`` ids in a message. ``rate`` is how many a second at most,
    0 for no limit. ``filters`` are those that chose the workflows; None where ids were given.
    ``reason``, ``now`` and ``from_step`` are those of the operation. ``actor`` says who started it.

    With ``selects_at`` no ids are stored: the job selects what matches, among the workflows of that moment
    (microseconds, by the server's clock) and all whose record is not beyond ``state_sequence``.
    """

    operation: JobOperation
    total: int
    per_chunk: int
    filters: Filters | None = None
    rate: float = 0.0
    reason: str = ""
    now: bool = False
    from_step: int | None = None
    actor: str = ""
    selects_at: int = 0
    state_sequence: int = 0

    def to_json(self) -> dict[str, Any]:
        """Without what an earlier version does not know, where that says nothing."""
        filters = None if self.filters is None else _filters_to_json(self.filters)
        left_out = {"filters", *([] if self.selects_at else ["selects_at", "state_sequence"])}
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {**plain, "operation": str(self.operation), "filters": filters}

    @classmethod
    def from_json(cls, value: Any) -> JobSpec:
        """UnreadableError for what this version does not know: half of the filters would choose others."""
        try:
            given = dict(value)
            filters = given.pop("filters")
            spec = cls(**given, filters=None if filters is None else _filters_from_json(filters))
            return replace(spec, operation=JobOperation(spec.operation))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UnreadableError(
                f"The input of this job cannot be read: {error}.",
                hint="It was started by another version of durablectl; update the processors.",
            ) from error

    @property
    def flags(self) -> list[str]:
        """The filters as words of a command line."""
        return [] if self.filters is None else to_flags(self.filters)


@dataclass(frozen=True)
class JobProgress:
    """How far a job is, by the processor that works on it. Times are microseconds.

    ``position`` counts the workflows that are done. ``kept`` is how many reports of skipped and failed ones are stored.
    ``recent_rate`` is how many a second were done lately. ``is_open`` says that a processor has begun and not stopped
    in order, so that part of the next batch may be done already.

    Of a job that selects, ``selected`` counts the ids that are stored, up to the ``cursor`` in the index, and
    ``is_selected`` says that these are all.
    """

    position: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    kept: int = 0
    recent_rate: float = 0.0
    is_open: bool = False
    started_at: int = 0
    updated_at: int = 0
    selected: int = 0
    cursor: str = ""
    is_selected: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobProgress:
        """What a newer version says beyond ours is left out."""
        ours = asdict(cls())
        return cls(**{name: value[name] for name, own in ours.items() if isinstance(value.get(name), (type(own), int))})

    def after_batch(self, outcomes: Mapping[ItemOutcome, int], kept: int, now: int, seconds: float) -> JobProgress:
        """That of ``seconds`` later, with the outcomes of a batch and ``kept`` more reports."""
        number = sum(outcomes.values())
        rate = number / max(seconds, 1 / MICROSECONDS)
        weight = _SMOOTHING if self.recent_rate else 1.0
        return replace(
            self,
            position=self.position + number,
            changed=self.changed + outcomes.get(ItemOutcome.CHANGED, 0),
            unchanged=self.unchanged + outcomes.get(ItemOutcome.UNCHANGED, 0),
            skipped=self.skipped + outcomes.get(ItemOutcome.SKIPPED, 0),
            failed=self.failed + outcomes.get(ItemOutcome.FAILED, 0),
            kept=self.kept + kept,
            recent_rate=round((1 - weight) * self.recent_rate + weight * rate, 3),
            updated_at=now,
        )


def _filters_to_json(filters: Filters) -> dict[str, Any]:
    values = {each.field: getattr(filters, each.field) for each in FILTERS}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items() if value}


def _filters_from_json(value: Mapping[str, Any]) -> Filters:
    values: dict[str, Any] = {name: frozenset(each) if isinstance(each, list) else each for name, each in value.items()}
    return Filters(**values)
