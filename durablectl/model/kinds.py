"""The kinds of commands, steps and waits, as stored. A later version may store others: readers show what they read."""

from __future__ import annotations

from enum import StrEnum


class CommandKind(StrEnum):
    """What a message in COMMANDS asks for."""

    START = "start"
    WAKE = "wake"
    RESUME = "resume"
    CANCEL = "cancel"
    FIRE = "fire"
    """Of a schedule: start a workflow."""


class StepKind(StrEnum):
    """What an entry of the journal records."""

    STEP = "step"
    CALL = "call"
    SLEEP = "sleep"
    AWAKEABLE = "awakeable"
    SIGNAL = "signal"
    CHILD = "child"
    SPAWN = "spawn"
    """A child was started that ends with its parent."""
    SEND = "send"
    """A child was started that outlives its parent."""
    RACE = "race"
    COMPENSATION = "compensation"
    CANCELLATION = "cancellation"
    """No operation: where a handler was cancelled, if it asked for something afterwards."""


class WaitKind(StrEnum):
    """What a workflow that does not move waits for; PROCESSOR and TAKEOVER are found by queries, and never stored."""

    RETRY = "retry"
    START = "start"
    SLEEP = "sleep"
    AWAKEABLE = "awakeable"
    SIGNAL = "signal"
    CHILD = "child"
    PROCESSOR = "processor"
    TAKEOVER = "takeover"
