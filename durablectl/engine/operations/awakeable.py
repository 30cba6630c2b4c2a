"""What a handler can hold on to: an answer that is to come, a child that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from durablectl.engine.operations.group import Awaiting
from durablectl.engine.operations.wait_operation import AwakeableWait, ChildWait
from durablectl.model.clock import MICROSECONDS
from durablectl.model.retry_policy import seconds

if TYPE_CHECKING:
    from datetime import timedelta

    from durablectl.engine.replay.run import Run

_T = TypeVar("_T")


def microseconds(duration: float | timedelta | None) -> int:
    return 0 if duration is None else int(seconds(duration) * MICROSECONDS)


class Awakeable(Awaiting[_T]):
    """An awaitable answer; ``id`` is what the outside system needs to give it."""

    __slots__ = ("id",)

    def __init__(self, run: Run, wait: AwakeableWait, awakeable_id: str) -> None:
        super().__init__(run, wait)
        self.id = awakeable_id


class ChildHandle:
    """A child workflow that was spawned."""

    def __init__(self, run: Run, handler: str, child_id: str) -> None:
        self._run = run
        self._handler = handler
        self.id = child_id

    def result(
        self, response_type: type[_T] | None = None, *, timeout: float | timedelta | None = None
    ) -> Awaiting[_T]:
        """Await the child's output; StepError when it failed or was cancelled."""
        wait = ChildWait(self._handler, self.id, None, microseconds(timeout), response_type)
        return Awaiting(self._run, wait)
