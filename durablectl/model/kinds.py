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


class WaitingFor(StrEnum):
    """What a filter asks of workflows that do not move: the kind of what moves them."""

    RETRY = "retry"
    """Another attempt of a step or call that failed, running or suspended."""
    AWAKEABLE = "awakeable"
    SIGNAL = "signal"
    CHILD = "child"
    TIMER = "timer"
    """A sleep, or a delayed start."""
    PROCESSOR = "processor"
    """It is due, and no processor has taken it."""


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


WAITING_FOR: dict[str, WaitingFor] = {
    WaitKind.RETRY: WaitingFor.RETRY,
    WaitKind.START: WaitingFor.TIMER,
    WaitKind.SLEEP: WaitingFor.TIMER,
    WaitKind.AWAKEABLE: WaitingFor.AWAKEABLE,
    WaitKind.SIGNAL: WaitingFor.SIGNAL,
    WaitKind.CHILD: WaitingFor.CHILD,
}
"""What filters call the kinds of waits that are stored."""
