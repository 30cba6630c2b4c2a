"""Jobs for all workflows that match filters, started by programs: the SDK and the HTTP API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from durablectl import control, query
from durablectl.errors import NotFoundError, UsageError
from durablectl.model.filters import Filters
from durablectl.model.jobs import CHANGEABLE, JobOperation
from durablectl.model.kinds import WaitingFor

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


async def start_job_matching(store: Store, operation: str, filters: Filters, **parameters: Any) -> str:
    """Start a job for the workflows that match now; its id. ``parameters`` are those of ``control.start_job``.

    Without a status, those match that the operation can change. Raises UsageError without any filter, as that would
    be all workflows, and NotFoundError where nothing matches.
    """
    if operation not in frozenset(JobOperation):
        raise UsageError(f"There is no bulk operation {operation!r}.", hint=f"They are {', '.join(JobOperation)}.")
    if filters == Filters():
        raise UsageError("Nothing says which workflows.", hint="Give a filter such as status or handler.")
    chosen = replace(filters, statuses=filters.statuses or CHANGEABLE[JobOperation(operation)])
    if operation == JobOperation.RETRY_NOW and not chosen.waiting_for:
        chosen = replace(chosen, waiting_for=frozenset({WaitingFor.RETRY}))
    ids = [each.invocation_id for each in await query.select_workflows(store, chosen)]
    if not ids:
        raise NotFoundError("No workflow matches; no job was started.", hint="Check the filters.")
    return await control.start_job(store, operation, ids, filters=chosen, **parameters)
