"""Invocations whose processors died on them: counted, and from the third time on begun one at a time.

Which of the invocations on a dead processor took it down is unknown. Begun alone, only the culprit crashes again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.storage.connection.crash_points import crash_at_caller

if TYPE_CHECKING:
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.model.records import Execution

MAX_CRASHES = 5
_ALONE_FROM = 3
_ALONE_SECONDS = 2.0
_QUEUED = -1


class Admission:
    """Leave for one invocation to begin; ``end`` lets the next one of the queue begin, and may be called again."""

    def __init__(self, turn: asyncio.Lock | None = None) -> None:
        self._turn = turn
        self._timer = asyncio.get_running_loop().call_later(_ALONE_SECONDS, self.end) if turn is not None else None

    def end(self) -> None:
        if self._turn is not None and self._timer is not None:
            self._timer.cancel()
            self._turn.release()
            self._turn = None


class CrashLoopGuard:
    """The queue of one processor. Its first runs alone until it progresses, ends, or two seconds have passed."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def admit(self, ownership: Ownership, progress: int) -> Admission | None:
        """Count the crash; None after MAX_CRASHES without progress. Returns when the invocation may begin.

        ``progress`` is how many steps its journal has. A processor that dies meanwhile did not die on what is queued,
        and the record says so.
        """
        execution = ownership.execution
        crashes = execution.crashes
        if execution.crash_mark != _QUEUED or not crashes:
            crashes = crashes + 1 if crashes and execution.crash_mark == progress else 1
        is_last = crashes >= MAX_CRASHES
        is_alone = crashes >= _ALONE_FROM and not is_last
        await _write(ownership, crashes, _QUEUED if is_alone else progress)
        if is_last:
            return None
        if not is_alone:
            return Admission()
        await self._turn.acquire()
        admission = Admission(self._turn)
        try:
            await _write(ownership, crashes, progress)
        except BaseException:
            admission.end()
            raise
        return admission


@crash_at_caller
async def _write(ownership: Ownership, crashes: int, mark: int) -> None:
    def change(execution: Execution) -> None:
        execution.crashes, execution.crash_mark = crashes, mark

    await ownership.write(change)
