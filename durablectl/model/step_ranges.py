"""Parts of a journal as users write them."""

from __future__ import annotations

import re

from durablectl.errors import UsageError

LAST_STEPS = (-50, None)
"""What is shown of a long journal."""


def step_range(text: str | None, option: str) -> tuple[int | None, int | None]:
    """As Python slices: ``0:20``, ``-10:``, ``:``; a number alone is that step, and None stands for LAST_STEPS.

    UsageError names the ``option``.
    """
    if text is None:
        return LAST_STEPS
    found = re.fullmatch(r"(-?\d{1,9})?(:(-?\d{1,9})?)?", text.strip(), re.ASCII)
    if not text.strip() or found is None:
        raise UsageError(
            f"The {option} cannot be used: {text!r} is not a range of steps.",
            hint="Write it like 0:20, -10: for the last ten, or : for all.",
        )
    first, rest, last = found.groups()
    start = None if first is None else int(first)
    if rest is None and start is not None:
        return start, start + 1 or None  # -1 is the last one, and has nothing behind it
    return start, None if last is None else int(last)
