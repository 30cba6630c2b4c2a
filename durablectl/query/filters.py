"""Which workflows a query is about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.model.names import validate_name
from durablectl.model.status import ACTIVE, Status
from durablectl.model.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Execution
    from durablectl.query.views import WorkflowView


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
    ) -> Filters:
        """``active`` stands for every status that is not terminal. UsageError lists the statuses there are."""
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
        _check_order("--since", since, "--until", until)
        _check_order("--created-since", created_since, "--created-until", created_until)
        return cls(
            frozenset(expanded),
            frozenset(validate_name("handler", handler) for handler in handlers),
            partition_key,
            since,
            until,
            created_since,
            created_until,
            error,
            parent,
        )

    @property
    def is_bounded(self) -> bool:
        """Whether it asks for the time of the last change."""
        return bool(self.since or self.until)

    @property
    def needs_states(self) -> bool:
        """Whether the index does not say enough, so that every state that may match must be read."""
        return bool(self.created_since or self.created_until or self.error or self.parent)

    def match(self, execution: Execution | WorkflowView, changed_at: int = 0) -> bool:
        """``changed_at`` stands in for records of other implementations, which do not say it."""
        return (
            (not self.statuses or execution.status in self.statuses)
            and (not self.handlers or execution.handler in self.handlers)
            and (not self.partition_key or execution.partition_key == self.partition_key)
            and _within(execution.updated_at or changed_at, self.since, self.until)
            and _within(execution.created_at, self.created_since, self.created_until)
            and (not self.error or self._has_error(execution))
            and (not self.parent or execution.parent_id == self.parent)
        )

    def _has_error(self, execution: Execution | WorkflowView) -> bool:
        return execution.status == Status.FAILED and self.error.casefold() in execution.error.casefold()


def _within(moment: int, since: int, until: int) -> bool:
    return since <= moment < (until or math.inf)


def _check_order(first: str, since: int, second: str, until: int) -> None:
    if since and until and since >= until:
        raise UsageError(f"The {first} is not before the {second}.", hint="Nothing lies between them.")


def _unknown_status(status: str) -> UsageError:
    known = [*map(str, Status), "active"]
    guess = did_you_mean(status.lower(), known)
    return UsageError(f"There is no status {status!r}.", hint=f"{guess}The statuses are {', '.join(known)}.")
