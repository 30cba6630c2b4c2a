"""The files that let the steps of ``gated`` in tests/apps/gated_app.py end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gated_app import GATES, STAGES, gate
from helpers.paths import APPS

if TYPE_CHECKING:
    from pathlib import Path

APP = str(APPS / "gated_app.py")


class Gates:
    """``environment`` is what a processor of the app needs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.environment = {GATES: str(directory)}

    def open(self, task: str, *stages: str) -> None:
        """Let these steps of the task end, all of them unless some are named."""
        for stage in stages or STAGES:
            gate(self._directory, stage, task).touch()
