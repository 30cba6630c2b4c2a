"""Processes of the machine, for tests that none is left over."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from helpers.waiting import block_until

if TYPE_CHECKING:
    from pathlib import Path


def processes_naming(path: Path) -> list[str]:
    """Return state, id and command line of each process whose command line holds the path, except zombies."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "stat=,pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in listed if str(path) in line and not line.startswith("Z")]


def wait_until_no_process_names(path: Path, timeout: float = 60) -> None:
    block_until(lambda: not processes_naming(path), timeout, 0.02, lambda: processes_naming(path))
