"""Bulk jobs: started by a client, carried out by processors, paused, resumed and cancelled like any workflow."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.control import lifecycle
from durablectl.control.audit_trail import audited, record_change
from durablectl.control.operation_result import OperationResult, load_for_change
from durablectl.control.start import StartRequest, start
from durablectl.errors import NotFoundError, NotProvisionedError, UsageError
from durablectl.limits import checked_number
from durablectl.model.audit import current_actor
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.filters import to_flags
from durablectl.model.jobs import JobOperation, JobSpec
from durablectl.model.names import JOB_HANDLER, validate_name
from durablectl.model.status import Status
from durablectl.model.text import storable
from durablectl.model.values import encode_value
from durablectl.storage.records import jobs, leases
from durablectl.storage.records.consistent_reads import last_sequence
from durablectl.storage.streams.provision import provision, provision_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.filters import Filters
    from durablectl.storage.connection.store import Store

FASTEST_JOB = 1_000_000
"""The highest rate of a job."""


def new_job_id() -> str:
    """``job-`` and ten hexadecimal digits."""
    return f"job-{secrets.token_hex(5)}"


@audited("job.start", "_", "operation", "now", "from_step")
async def start_job(
    store: Store,
    operation: JobOperation | str,
    ids: Sequence[str] | None,
    *,
    filters: Filters | None = None,
    rate: float = 0.0,
    reason: str = "",
    now: bool = False,
    from_step: int | None = None,
    actor: str = "",
) -> str:
    """Have the processors do ``operation`` to these workflows; the id of the job.

    The ids are stored first, so that dying in between starts nothing. ``filters`` are those that chose them: what does
    not match any more when its turn comes is skipped. Without ``ids`` the job itself selects what matches them, among
    the workflows that there are now. ``rate`` is how many a second at most, 0 for no limit of its own.
    ``actor`` says who started it, the caller by default. Raises UsageError, InvalidNameError, PermissionDeniedError.
    """
    if operation not in frozenset(JobOperation):
        raise UsageError(f"There is no bulk operation {str(operation)!r}.", hint=f"They are {', '.join(JobOperation)}.")
    if not ids and (ids is not None or filters is None):
        raise UsageError("A job needs workflows, and none were given.")
    checked_number(rate, "The rate of a job", 0, FASTEST_JOB)
    if from_step is not None and operation != JobOperation.RETRY:
        raise UsageError(f"from_step is about a retry; the job is to {operation}.", hint="Leave it out.")
    if now and operation != JobOperation.CANCEL:
        raise UsageError(f"now is about a cancellation; the job is to {operation}.", hint="Leave it out.")
    for each in ids or ():
        validate_name("invocation id", each)
    job_id = new_job_id()
    spec = JobSpec(
        operation=JobOperation(operation),
        total=len(ids or ()),
        per_chunk=jobs.ids_per_chunk(store),
        filters=filters,
        rate=rate,
        reason=storable(reason),
        now=now,
        from_step=from_step,
        actor=storable(actor or current_actor().name),
    )
    if ids is None:
        sequence = await last_sequence(store)
        # What the sequence does not tell goes by times of creation, which are by the clock of the server.
        server_now = SYSTEM_CLOCK.machine_now() - SYSTEM_CLOCK.error
        spec = replace(spec, selects_at=server_now, state_sequence=sequence)
    encode_value(spec.to_json(), "what chooses the workflows of the job")  # before anything is stored
    chosen_by = " ".join(to_flags(filters)) if filters is not None else ""
    await record_change(JOB_HANDLER, job_id, total=spec.total or None, filters=chosen_by, rate=rate or None)
    if ids is None:
        await provision_jobs(store)
    else:
        await _store_ids(store, job_id, ids, spec.per_chunk)
    await start(store, StartRequest(JOB_HANDLER, spec.to_json(), job_id, is_system=True))
    return job_id


async def _store_ids(store: Store, job_id: str, ids: Sequence[str], per_chunk: int) -> None:
    try:
        await jobs.store_ids(store, job_id, ids, per_chunk)
    except NotProvisionedError:
        await provision(store)
        await jobs.store_ids(store, job_id, ids, per_chunk)


async def can_run_jobs(store: Store) -> bool:
    """Whether a live processor carries out jobs; one of an earlier version does not."""
    return any(JOB_HANDLER in lease.all_handlers for lease in await leases.live_processors(store))


async def pause_job(store: Store, job_id: str, reason: str = "") -> OperationResult:
    """Change no further workflow; those in work are ended first. Raises NotFoundError, InvalidStateError."""
    await _require_job(store, job_id)
    result = await lifecycle.pause(store, job_id, reason)
    return replace(result, message="Paused.") if result.changed else result


async def resume_job(store: Store, job_id: str) -> OperationResult:
    """Go on where it was. Raises NotFoundError, InvalidStateError."""
    await _require_job(store, job_id)
    return await lifecycle.resume(store, job_id)


async def cancel_job(store: Store, job_id: str, reason: str = "") -> OperationResult:
    """End it; what it has changed stays changed. Raises NotFoundError, InvalidStateError."""
    await _require_job(store, job_id)
    result = await lifecycle.cancel(store, job_id, reason)
    if result.changed and result.status == Status.CANCELLED:
        await store.requests.exchange([jobs.removal_of_ids(store, job_id)])
    return result


async def _require_job(store: Store, job_id: str) -> None:
    try:
        stored = await load_for_change(store, job_id)
    except NotProvisionedError:
        raise
    except NotFoundError:
        raise job_not_found(job_id) from None
    if stored.execution.handler != JOB_HANDLER:
        raise job_not_found(job_id)


def job_not_found(job_id: str) -> NotFoundError:
    return NotFoundError(f"There is no job {job_id}.", hint="List them with `durablectl jobs list`.")
