"""Changing workflows: starting and steering them, answering them, and waiting for how they end."""

from durablectl.control.again import delete, restart, retry
from durablectl.control.answers import reject, resolve, signal
from durablectl.control.outcome import Outcome, wait_for_outcome
from durablectl.control.start import StartRequest, start
from durablectl.control.steering import Steered, cancel, pause, resume

__all__ = [
    "Outcome",
    "StartRequest",
    "Steered",
    "cancel",
    "delete",
    "pause",
    "reject",
    "resolve",
    "restart",
    "resume",
    "retry",
    "signal",
    "start",
    "wait_for_outcome",
]
