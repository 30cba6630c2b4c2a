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


OTHER = "other"
"""The index group of what has a status of another implementation's own."""

TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset(Status) - TERMINAL


def is_terminal(status: str) -> bool:
    return status in TERMINAL
