"""What a processor registers for durablectl's own work. The code behind it is imported when the first job begins."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from durablectl.engine.sdk.registry import Workflow
from durablectl.engine.worker.processor import SystemWorkflows
from durablectl.errors import ConfigurationError, DurableError, PermissionDeniedError, StorageError
from durablectl.model.concurrency import run_concurrently
from durablectl.model.names import JOB_HANDLER
from durablectl.storage.streams.provision import provision_audit, provision_jobs

if TYPE_CHECKING:
    from durablectl.engine.sdk.context import Context
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)


def system_workflows(store: Store) -> SystemWorkflows:
    """What a processor runs beside its app."""
    stopping = asyncio.Event()

    async def bulk_job(ctx: Context, request: Any) -> dict[str, Any]:
        """Change the workflows of a job, one batch after the other."""
        # It loads all of durablectl.control, which a processor without jobs does not need.
        from durablectl.system.bulk_jobs import carry_out

        return await carry_out(store, stopping, ctx, request)

    async def prepare(replicas: int | None) -> None:
        await run_concurrently(lambda: _prepare_jobs(store, replicas), lambda: _prepare_audit(store, replicas))

    workflow = Workflow(JOB_HANDLER, bulk_job, takes_input=True, needs_input=True, input_type=None)
    return SystemWorkflows({JOB_HANDLER: workflow}, prepare, stopping.set)


async def _prepare_jobs(store: Store, replicas: int | None) -> None:
    try:
        await provision_jobs(store, replicas=replicas)
    except (PermissionDeniedError, ConfigurationError, StorageError) as error:
        _log.warning("Bulk jobs cannot be started until their stream is made: %s", error)


async def _prepare_audit(store: Store, replicas: int | None) -> None:
    try:
        await provision_audit(store, replicas=replicas)
    except DurableError as error:
        _log.warning("Changes are not recorded in the audit trail until its stream is made: %s", error)
