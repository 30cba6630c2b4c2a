"""Waiting for the end of a workflow."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.errors import (
    DurableError,
    NotFoundError,
    NotProvisionedError,
    WaitTimeoutError,
    WorkflowCancelledError,
    WorkflowFailedError,
)
from durablectl.model.codec import decode_execution
from durablectl.model.names import validate_name
from durablectl.model.status import Status, is_terminal
from durablectl.model.values import decode_value
from durablectl.storage.index import index_entries
from durablectl.storage.streams.direct_get import count
from durablectl.storage.streams.feed import follow
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_PAUSES = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds before each look."""


@dataclass(frozen=True)
class WorkflowOutcome:
    """How a workflow ended."""

    execution: Execution

    @property
    def error(self) -> WorkflowFailedError | WorkflowCancelledError | None:
        """None for a completed workflow."""
        execution = self.execution
        if execution.status == Status.FAILED:
            return WorkflowFailedError(
                f"The workflow {execution.invocation_id} failed: {execution.error}",
                hint=f"See why with `durablectl wf get {execution.invocation_id}`.",
            )
        if execution.status == Status.CANCELLED:
            reason = f": {execution.reason}" if execution.reason else ""
            return WorkflowCancelledError(f"The workflow {execution.invocation_id} was cancelled{reason}.")
        return None

    def output(self) -> Any:
        """The decoded output; WorkflowFailedError or WorkflowCancelledError when there is none."""
        if self.error is not None:
            raise self.error
        return decode_value(self.execution.output)


async def wait_for_outcome(store: Store, invocation_id: str, timeout: float | None = None) -> WorkflowOutcome:
    """Pushed by JetStream. Raises NotFoundError, and WaitTimeoutError after ``timeout`` seconds."""
    validate_name("invocation id", invocation_id)
    try:
        async with asyncio.timeout(timeout):
            return WorkflowOutcome(await _wait(store, invocation_id))
    except TimeoutError as error:
        raise WaitTimeoutError(
            f"The workflow {invocation_id} had not ended after {timeout:g} s.",
            hint="It goes on by itself; wait longer, or look with `durablectl wf get`.",
        ) from error


async def wait_until_listed(store: Store, execution: Execution) -> None:
    """Wait for the entry by which lists find what has ended: its processor writes that right after the end.

    Not for long: the one that died in between has its entry made by another, seconds later.
    """
    with contextlib.suppress(DurableError):
        subject = index_entries.index_subject(store.subjects, execution)
        for pause in _PAUSES if execution.indexed_at else ():
            await asyncio.sleep(pause)
            if await count(store, store.subjects.index_stream, subject):
                return


async def _wait(store: Store, invocation_id: str) -> Execution:
    subject = store.subjects.state(invocation_id)
    try:
        async with follow(store, store.subjects.state_stream, [subject]) as feed:
            if feed.snapshot:
                async for change in feed:
                    if change.deleted:
                        break
                    execution = decode_execution(change.data, invocation_id)
                    if is_terminal(execution.status):
                        return execution
    except NotProvisionedError:
        await require_provisioned(store)
        raise
    raise NotFoundError(
        f"There is no workflow {invocation_id}.", hint="List them with `durablectl wf list`, or check --namespace."
    )
