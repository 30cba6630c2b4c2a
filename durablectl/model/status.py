"""The status of an invocation and what may follow what."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """As stored in field 5 of ExecutionState."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset(Status) - TERMINAL

_INDEX_GROUPS = {Status.PENDING: "active", Status.RUNNING: "active"}


def index_group(status: str) -> str:
    """The first token of an index entry: pending and running share "active", so that a claim moves nothing."""
    return _INDEX_GROUPS.get(status, status)  # type: ignore[call-overload, no-any-return]


def is_terminal(status: str) -> bool:
    return status in TERMINAL
