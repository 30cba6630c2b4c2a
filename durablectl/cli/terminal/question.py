"""A question on the terminal, and its answer."""

from __future__ import annotations

import asyncio
import sys

from durablectl.cli.render.formatting import printable


def can_ask() -> bool:
    """Whether somebody sits at both ends: the question goes to standard error, the answer comes from standard input."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def agrees(question: str) -> bool:
    """Only ``y`` and ``yes`` agree. The connection stays alive meanwhile, and Ctrl-C is heard."""
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    answer = await _line()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in {"y", "yes"}


async def _line() -> str:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(sys.stdin, readable.set)
    except NotImplementedError:  # on Windows
        return sys.stdin.readline()
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
