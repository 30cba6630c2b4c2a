"""Which code keeps a thread from its event loop: found in the thread's frames, from another thread."""

from __future__ import annotations

import asyncio
import gc
import sys
import sysconfig
from contextvars import Context
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from durablectl.engine.replay.current_step import EXECUTED_STEP, ExecutedStep
from durablectl.engine.replay.handler_runner import HandlerRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_LIBRARIES = (
    *{sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")},
    "<",
)
_CALLERS = (str(Path(__file__).parents[2]), str(Path(asyncio.__file__).parent))
"""What calls the code of apps, and is not called by it."""
_TURN = HandlerRunner.turn.__code__


class BlockingCode(NamedTuple):
    """What blocks: ``what`` names the step or handler, ``place`` the frame. The ids are empty for other code."""

    what: str
    place: str
    invocation_id: str = ""
    handler: str = ""

    def __str__(self) -> str:
        return f"{self.what}, at {self.place}"


def find_blocking_code(thread_id: int, loop: asyncio.AbstractEventLoop) -> BlockingCode:
    """Describe what the thread, which runs the loop, executes now."""
    top = sys._current_frames().get(thread_id)  # noqa: SLF001 - there is no other way to another thread's frames
    frames = list(_outwards(top))
    place = _place(frames)
    step = _executed(frames, asyncio.current_task(loop))
    if step is None:
        return BlockingCode("code outside of workflows", place)
    where = f"of workflow {step.invocation_id} (handler {step.handler!r})"
    if step.number < 0:
        return BlockingCode(f"the handler itself {where}", place, step.invocation_id, step.handler)
    return BlockingCode(f"step {step.number} {step.step_type!r} {where}", place, step.invocation_id, step.handler)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frames: list[FrameType]) -> str:
    """The innermost frame and, where that is a library's, the one of the app that led to it."""
    if not frames:
        return "an unknown place"
    inner = takewhile(lambda frame: not frame.f_code.co_filename.startswith(_CALLERS), frames)
    app = next((frame for frame in inner if not frame.f_code.co_filename.startswith(_LIBRARIES)), frames[0])
    innermost = _line(frames[0])
    return innermost if app is frames[0] else f"{innermost}, called from {_line(app)}"


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _executed(frames: list[FrameType], task: asyncio.Task[Any] | None) -> ExecutedStep | None:
    """A handler runs inside its runner; what a step runs, in tasks of its own too, has the step in its context."""
    for frame in frames:
        if frame.f_code is _TURN:
            runner: HandlerRunner = frame.f_locals["self"]
            return runner.executed
    context = _context_of(task) if task is not None else None
    return context.get(EXECUTED_STEP) if context is not None else None


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    if hasattr(task, "get_context"):
        return cast("Context", task.get_context())
    # Before Python 3.12 a task did not give it away.
    return next((each for each in gc.get_referents(task) if isinstance(each, Context)), None)
