"""The console script, and `python -m durablectl`."""

from __future__ import annotations

import os
import signal
from typing import Any

_INTERRUPTED = 130


def main() -> None:
    """Run the command line. An interrupt ends it quietly at any moment: during imports, and at its end, too."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        _run()  # whoever started it wants no interrupts, as a shell does for what runs in the background
        return
    signal.signal(signal.SIGINT, _end)
    try:
        _run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, _end)


def _run() -> None:
    from durablectl.cli.main import main as run

    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end(*_: Any) -> None:
    """End without a traceback: there is nothing to clean up yet, or no more."""
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
