"""Starting other workflows from a workflow."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.function_step import describe
from durablectl.model.retry_policy import TRANSPORT_RETRY
from durablectl.storage.transitions.start_writes import StartCommand, start_child

if TYPE_CHECKING:
    from durablectl.engine.operations.function_step import Failure
    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Payload

SEND = "send"
SPAWN = "spawn"


def child_id(run: Run, number: int) -> str:
    """The id of the child that step ``number`` starts: the same on every replay, another after a retry dropped it."""
    execution = run.ownership.execution
    source = f"{run.invocation_id}:{execution.start_token}:{number}:{len(execution.history)}"
    text = hashlib.sha256(source.encode()).hexdigest()[:20]
    return "-".join(text[i : i + 5] for i in range(0, 20, 5))


class StartChild:
    """The step that starts a child and does not wait for it; its result is the child's id."""

    def __init__(self, run: Run, kind: str, start: StartCommand, given_id: str) -> None:
        self.kind = kind
        self.step_type = f"{kind}:{start.handler}"
        self._run = run
        self._start = start
        self._id = given_id

    def request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        self._id = self._id or child_id(self._run, number)
        return self._start.input, []

    async def run(self) -> str:
        start = replace(self._start, created_at=self._run.clock.now())
        await start_child(self._run.store, start, self._id, self._run.ownership.execution)
        return self._id

    def failure(self, error: BaseException) -> Failure:
        return describe(error, TRANSPORT_RETRY)
