"""Changing workflows: starting them, and waiting for how they end."""

from durablectl.control.outcome import Outcome, wait_for_outcome
from durablectl.control.start import StartRequest, start

__all__ = ["Outcome", "StartRequest", "start", "wait_for_outcome"]
