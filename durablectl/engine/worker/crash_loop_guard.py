"""Invocations whose processors died on them: counted, and from the third time on begun one at a time.

Which of those that ran on a dead processor took it down, nobody knows. Begun alone, only the culprit dies again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution

MAX_CRASHES = 5
_ALONE_FROM = 3
_ALONE_SECONDS = 2.0
_IN_LINE = -1


class Suspects:
    """The line of one processor. The first has it to itself until it gets further, ends, or two seconds have passed."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def admit(self, run: Run) -> bool:
        """Count the crash; False after MAX_CRASHES without getting any further. Returns when it may begin.

        A processor that dies meanwhile did not die on what waited in line, and the record says so.
        """
        execution = run.ownership.execution
        progress = len(run.entries)
        crashes = execution.crashes
        if execution.crash_mark != _IN_LINE or not crashes:
            crashes = crashes + 1 if crashes and execution.crash_mark == progress else 1
        is_last = crashes >= MAX_CRASHES
        is_alone = crashes >= _ALONE_FROM and not is_last
        await _write(run, crashes, _IN_LINE if is_alone else progress)
        if is_alone:
            await self._wait_for_turn(run)
            await _write(run, crashes, progress)
        return not is_last

    async def _wait_for_turn(self, run: Run) -> None:
        await self._turn.acquire()
        has_ended = False

        def end() -> None:
            nonlocal has_ended
            if not has_ended:
                has_ended = True
                timer.cancel()
                self._turn.release()

        timer = run.loop.call_later(_ALONE_SECONDS, end)
        run.on_progress = end


async def _write(run: Run, crashes: int, mark: int) -> None:
    def change(execution: Execution) -> None:
        execution.crashes, execution.crash_mark = crashes, mark

    await run.ownership.write(change)
