"""How a run leaves its handler before the handler has ended.

These derive from BaseException so that a handler's ``except Exception`` cannot swallow them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.text import message_of

if TYPE_CHECKING:
    from durablectl.errors import DurableError, UnreadableError
    from durablectl.model.records import Execution, PendingWait, StepMismatch


class RunExit(BaseException):
    """Root of the reasons for which a run leaves its handler."""


class FencedOut(RunExit):
    """Another writer owns the invocation now; ``execution`` is the state that it wrote, None when it was deleted."""

    def __init__(self, execution: Execution | None) -> None:
        super().__init__(f"now {execution.status}, owner {execution.owner or 'none'}" if execution else "gone")


class JournalMismatch(RunExit):
    """The handler asked for another step than its journal holds; the message names both."""

    def __init__(self, details: StepMismatch) -> None:
        super().__init__(details.sentence())
        self.details = details


class JournalDamaged(RunExit):
    """The handler asked for a step whose recorded end cannot be used."""

    def __init__(self, error: UnreadableError) -> None:
        super().__init__(error.message)
        self.error = error


class StorageFailed(RunExit):
    """The store refused a write for a reason that is not the workflow's; the command is redelivered."""

    def __init__(self, error: DurableError) -> None:
        super().__init__(error.message)
        self.error = error


class Suspended(RunExit):
    """Nothing is left to do until one of ``waits`` is over, as of the state's ``revision``."""

    def __init__(self, waits: list[PendingWait], revision: int) -> None:
        super().__init__("suspended")
        self.waits = waits
        self.revision = revision


class Paused(RunExit):
    """An operator paused the invocation: no further step is started."""


class WorkflowTimedOut(RunExit):
    """The workflow's own time limit has passed."""


class ProcessorStopping(RunExit):
    """The processor is stopping: the invocation is released, and another processor resumes it."""


class StateChanged(RunExit):
    """Another writer changed the state while the run was about to leave it: the handler is run again on that state."""


class HandlerStuck(RunExit):
    """The handler cannot go on: it spins, or awaits what nothing brings. The message says which."""


class EngineFailed(RunExit):
    """The engine itself raised ``error``, which is a bug in it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {message_of(error)}")
        self.error = error


def do_nothing(*_: object) -> None:
    """Stand in for a callback of a run that is over, so that nothing refers back to the run."""
