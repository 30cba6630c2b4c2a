"""durablectl on a machine whose clock is wrong: ``python shifted.py FILE ARGS...``; FILE holds by how many seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

_true_time_ns, _true_time = time.time_ns, time.time


def shift(file: Path) -> None:
    """Read again whenever the time is asked for: it may be changed while the process runs."""
    time.time_ns = lambda: _true_time_ns() + int(file.read_text(encoding="utf-8")) * 1_000_000_000
    time.time = lambda: _true_time() + int(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    shift(Path(sys.argv.pop(1)))
    from durablectl.cli.main import main

    main()
