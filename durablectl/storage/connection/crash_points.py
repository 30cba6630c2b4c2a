"""Crash points, for tests: with DURABLECTL_CRASH_AT set the process dies at a named write; unset, nothing is wrapped.

A point is the innermost line outside storage and the function that it calls there, then which of the requests of an
exchange: ``engine.worker.outcome.suspend:91>exchange[0]``. Where that line is declared with ``crash_at_caller``, its
caller's counts. ``:before`` or ``:after`` says whether the server has that message; ``@2`` means the second time.
``?FILE`` appends the name of each point that is reached to a file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from nats.aio.client import Client as NatsClient

VARIABLE = "DURABLECTL_CRASH_AT"
EXIT_CODE = 86
_READS = (".DIRECT.GET.", ".INFO", ".MSG.NEXT.", ".MSG.GET.", ".NAMES", ".FC.")
_PACKAGE = "durablectl."
_STORAGE = "durablectl.storage."
_AT_CALLER: set[CodeType] = set()
"""The code of what is declared with ``crash_at_caller``."""

_F = TypeVar("_F", bound="Callable[..., object]")


def crash_at_caller(declared: _F) -> _F:
    """Declare that a function, or each method of a class, writes for its callers, which say more about what is written.

    Returns ``declared`` itself: nothing is wrapped.
    """
    members = vars(declared).values() if isinstance(declared, type) else [declared]
    for member in members:
        if isinstance(member, FunctionType):
            _AT_CALLER.update(_with_inner(member.__code__))
    return declared


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def arm(client: NatsClient) -> None:
    """Wrap what every message of this connection leaves through, when the environment asks for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    send = client.publish
    reach = _tracer(Path(wanted[1:])) if wanted.startswith("?") else _killer(wanted)
    sent: dict[FrameType, int] = {}

    async def publish(subject: str, *args: Any, **options: Any) -> None:
        if any(read in subject for read in _READS):
            await send(subject, *args, **options)
            return
        point = _point(sent)
        reach(f"{point}:before")
        await send(subject, *args, **options)
        if reach(f"{point}:after"):
            # The answer to a PING comes behind the effect of what was sent. nats-py writes that of a flush ahead of
            # what it has buffered: hence twice.
            await client.flush()
            await client.flush()
            os._exit(EXIT_CODE)

    client.publish = publish  # type: ignore[method-assign]


def _tracer(trace: Path) -> Callable[[str], bool]:
    def reach(point: str) -> bool:
        if point.endswith(":before"):
            with trace.open("a") as file:
                file.write(point.removesuffix(":before") + "\n")
        return False

    return reach


def _killer(wanted: str) -> Callable[[str], bool]:
    """True where the process is to die once the server has what was sent; where it has not, there is no answer."""
    place, _, number = wanted.partition("@")
    if not place.endswith((":before", ":after")) or not (number or "1").isdecimal():
        raise ConfigurationError(
            f"{VARIABLE} is {wanted!r}, which is no crash point.",
            hint="It is for tests of durablectl: POINT:before, POINT:after@2 or ?FILE. Unset it.",
        )
    left = int(number or 1)

    def reach(point: str) -> bool:
        nonlocal left
        left -= point == place
        is_now = point == place and left == 0
        if is_now and place.endswith(":before"):
            os._exit(EXIT_CODE)
        return is_now

    return reach


def _point(sent: dict[FrameType, int]) -> str:
    """The innermost line outside storage on the way here, and what it called; else the outermost of storage."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # there is no other way to the callers
    called = which = outermost = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_PACKAGE):
            code = frame.f_code
            here = f"{module.removeprefix(_PACKAGE)}.{code.co_qualname}".replace(".<locals>", "")
            if not module.startswith(_STORAGE) and code not in _AT_CALLER:
                return f"{here}:{frame.f_lineno}>{called}{which}"
            if code.co_name == "exchange":
                which = f"[{sent.setdefault(frame, 0)}]"
                sent[frame] += 1
            called, outermost = code.co_name, here
        frame = frame.f_back
    return f"{outermost}>"
