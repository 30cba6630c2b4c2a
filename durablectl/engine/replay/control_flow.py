"""How a run stops before its handler has ended.

These derive from BaseException so that a handler's ``except Exception`` cannot swallow them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durablectl.errors import DurableError
    from durablectl.model.records import Execution, PendingWait


class Halt(BaseException):
    """Root of the reasons for which a run leaves its handler."""


class FencedOut(Halt):
    """Another writer owns the invocation now. Made from the state that stands, None when it was deleted."""

    def __init__(self, execution: Execution | None) -> None:
        super().__init__(f"now {execution.status}, owner {execution.owner or 'none'}" if execution else "gone")


class Mismatch(Halt):
    """The handler asked for another step than its journal holds; the message says both."""


class StorageFailed(Halt):
    """The store refused a write for a reason that is not the workflow's; the command will be delivered again."""

    def __init__(self, error: DurableError) -> None:
        super().__init__(error.message)


class Suspended(Halt):
    """Nothing is left to do until one of ``waits`` is over, as of the state's ``revision``."""

    def __init__(self, waits: list[PendingWait], revision: int) -> None:
        super().__init__("suspended")
        self.waits = waits
        self.revision = revision


class Paused(Halt):
    """An operator paused the invocation: no further step is started."""


class TimedOut(Halt):
    """The workflow's own time limit has passed."""


class HandedBack(Halt):
    """Handed back because the processor is stopping: whoever takes the invocation next goes on with it."""


class Overtaken(Halt):
    """Someone changed the state while the run was about to leave it: run the handler again and look."""
