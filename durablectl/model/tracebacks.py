"""Tracebacks for authors: their own frames, without those of the engine and without markers under the lines."""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_SAMPLES = str(_PACKAGE / "demo")


def author_traceback(error: BaseException, *, only_app: bool = False) -> str:
    """The traceback of what an app's code raised.

    Of an error that the engine raised itself it has every frame, with ``only_app`` those of the app all the same.
    """
    told = traceback.TracebackException.from_exception(error)
    return "".join(_plain(told, set(), only_app=only_app).format())


def _plain(error: traceback.TracebackException, seen: set[int], *, only_app: bool) -> traceback.TracebackException:
    """The same, in the error and in those that caused it."""
    seen.add(id(error))
    frames = [_without_columns(frame) for frame in error.stack]
    if only_app or (frames and not _is_ours(frames[-1])):
        frames = [frame for frame in frames if not _is_ours(frame)]
    error.stack = traceback.StackSummary.from_list(frames)
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None and id(other) not in seen:
            _plain(other, seen, only_app=only_app)
    return error


def _without_columns(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    """The places in a line are what markers are drawn from."""
    return traceback.FrameSummary(frame.filename, frame.lineno, frame.name, lookup_line=False, line=frame.line)


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(str(_PACKAGE)) and not frame.filename.startswith(_SAMPLES)
