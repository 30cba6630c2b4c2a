"""Which processes are there: for tests that nothing is left behind."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def mentioning(path: Path) -> list[str]:
    """State, id and command line of each process, zombies aside, in whose command line the path occurs."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "stat=,pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in listed if str(path) in line and not line.startswith("Z")]


def until_gone(path: Path, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while left := mentioning(path):
        assert time.monotonic() < deadline, f"still there after {within} s: {left}"
        time.sleep(0.02)
