"""Which workflows a query is about."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.errors import UsageError
from durablectl.model.names import validate_name
from durablectl.model.status import ACTIVE, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Execution


@dataclass(frozen=True)
class Filters:
    """Empty sets match everything. Make it with ``Filters.parse`` from what a user typed."""

    statuses: frozenset[str] = frozenset()
    handlers: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, statuses: Iterable[str] = (), handlers: Iterable[str] = ()) -> Filters:
        """``active`` stands for every status that is not terminal. UsageError lists the statuses there are."""
        expanded: set[str] = set()
        for status in statuses:
            if status == "active":
                expanded |= ACTIVE
            elif status in frozenset(Status):
                expanded.add(Status(status))
            else:
                raise _unknown_status(status)
        return cls(frozenset(expanded), frozenset(validate_name("handler", handler) for handler in handlers))

    def match(self, execution: Execution) -> bool:
        return (not self.statuses or execution.status in self.statuses) and (
            not self.handlers or execution.handler in self.handlers
        )


def _unknown_status(status: str) -> UsageError:
    known = [*Status, "active"]
    close = difflib.get_close_matches(status.lower(), known, 1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return UsageError(f"There is no status {status!r}.", hint=f"{guess}The statuses are {', '.join(known)}.")
