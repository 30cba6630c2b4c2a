"""What every operation on a workflow shares: it loads the record, and answers with a result or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from durablectl.errors import ConflictError, InvalidStateError, NotFoundError, StaleRevisionError
from durablectl.model.names import validate_name
from durablectl.model.validation import check_execution
from durablectl.storage.records.consistent_reads import load_confirmed
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.model.filters import Filters
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState


@dataclass(frozen=True)
class OperationResult:
    """What an operation did. ``changed`` is False when it was so already; ``message`` is a sentence about it.

    Of a restart, ``invocation_id`` and ``status`` are those of the new invocation, and ``restarted_from`` is the old.
    """

    invocation_id: str
    status: str
    changed: bool
    message: str
    restarted_from: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "invocation_id": self.invocation_id,
            "status": self.status,
            "changed": self.changed,
            "message": self.message,
            "restarted_from": self.restarted_from or None,
        }


class ChangedByJobError(ConflictError):
    """The bulk job has changed this workflow before: a processor died before it could say so."""


class NoLongerMatchesError(ConflictError):
    """The workflow is not one any more that the operation is about."""


@dataclass(frozen=True)
class Origin:
    """On whose behalf an operation is done.

    ``job_id`` is the bulk job that does it: a workflow that it has changed is not changed again. ``filters`` chose the
    workflow, and must still match.
    """

    job_id: str = ""
    filters: Filters | None = None

    def check(self, execution: Execution) -> None:
        """Raise ChangedByJobError or NoLongerMatchesError."""
        if self.job_id and self.job_id in execution.changed_by_jobs:
            raise ChangedByJobError(f"The job {self.job_id} has changed {execution.invocation_id} before.")
        if self.filters is not None and not self.filters.match(execution):
            raise NoLongerMatchesError(
                f"It is {execution.status} and does not match the filters any more: it has changed since."
            )

    def mark(self, execution: Execution) -> None:
        """Note the job in what is about to be written: the change and the mark are one write."""
        if self.job_id:
            execution.mark_job(self.job_id)


DIRECT = Origin()
"""Done by the caller itself."""


def invalid_state_error(execution: Execution, what: str, hint: str = "") -> InvalidStateError:
    """The error for an operation that this status does not allow."""
    return InvalidStateError(
        f"The workflow {execution.invocation_id} is {execution.status} and cannot be {what}.", hint=hint
    )


async def load_for_change(
    store: Store, invocation_id: str, if_revision: int = 0, origin: Origin = DIRECT
) -> StoredState:
    """Raises InvalidNameError, NotFoundError, NotProvisionedError; StaleRevisionError when ``if_revision`` is past.

    UnreadableError for a record that is damaged, or has a status that this version does not know; what ``origin``
    raises.
    """
    validate_name("invocation id", invocation_id)
    stored = await load_confirmed(store, invocation_id)
    if stored is None:
        await require_provisioned(store)
        raise NotFoundError(
            f"There is no workflow {invocation_id}.", hint="List them with `durablectl wf list`, or check --namespace."
        )
    check_execution(stored.execution)
    if if_revision not in {0, stored.revision}:
        raise StaleRevisionError(
            f"The workflow {invocation_id} is at revision {stored.revision}, not {if_revision} any more.",
            hint="Look at it again.",
        )
    origin.check(stored.execution)
    return stored
