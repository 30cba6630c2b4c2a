"""From when on a step counts as hung: the option ``--hung-after`` of ``status``, ``doctor`` and ``wf why``."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.model.clock import MICROSECONDS
from durablectl.model.user_input import parse_duration

_HELP = "A step that lasts longer is hung: 90s, 5m (default 10 times as long as usual, or 10m where that is unknown)."

HungAfter = Annotated[str | None, typer.Option("--hung-after", metavar="DURATION", help=_HELP)]


def hung_limit_us(hung_after: str | None) -> int:
    """The limit in microseconds; 0 where none is given. Raises UsageError."""
    return 0 if hung_after is None else int(parse_duration(hung_after, "--hung-after") * MICROSECONDS)
