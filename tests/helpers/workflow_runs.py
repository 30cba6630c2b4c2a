"""Workflows started and awaited through the control and query layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl import control, query
from helpers.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from durablectl.control import WorkflowOutcome
    from durablectl.query import WorkflowView
    from durablectl.storage.connection.store import Store


async def start_workflow(store: Store, handler: Any, input: Any = None, *, id: str | None = None) -> str:
    """Start a workflow and return its invocation id; ``handler`` is a workflow or its name."""
    name = handler if isinstance(handler, str) else handler.name
    return await control.start(store, control.StartRequest(name, input, id))


async def wait_for_outcome(store: Store, invocation_id: str, timeout: float = PATIENCE) -> WorkflowOutcome:
    return await control.wait_for_outcome(store, invocation_id, timeout)


async def wait_for_output(store: Store, invocation_id: str, timeout: float = PATIENCE) -> Any:
    """Wait for the end and return the output; raise the workflow's error."""
    return (await wait_for_outcome(store, invocation_id, timeout)).output()


async def run_workflow(
    store: Store, handler: Any, input: Any = None, *, id: str | None = None, timeout: float = PATIENCE
) -> Any:
    """Start a workflow, wait for its end and return its output; raise its error."""
    return await wait_for_output(store, await start_workflow(store, handler, input, id=id), timeout)


async def run_to_end(store: Store, handler: Any, input: Any = None, *, id: str | None = None) -> WorkflowView:
    """Start a workflow, wait for its end and return the view of it."""
    invocation_id = await start_workflow(store, handler, input, id=id)
    await wait_for_outcome(store, invocation_id)
    return await query.get_workflow(store, invocation_id)


async def run_over_suspension(store: Store, handler: Any, input: Any = None) -> WorkflowView:
    """Run a workflow to its end that waits for the signal ``go``, which is sent once it is suspended."""
    invocation_id = await start_workflow(store, handler, input)
    await wait_for_status(store, invocation_id, "suspended")
    await control.signal(store, invocation_id, "go")
    await wait_for_outcome(store, invocation_id)
    return await query.get_workflow(store, invocation_id)


async def wait_for_status(store: Store, invocation_id: str, status: str, timeout: float = PATIENCE) -> WorkflowView:
    async def has_status() -> WorkflowView | None:
        view = await query.get_workflow(store, invocation_id)
        return view if view.status == status else None

    view: WorkflowView = await wait_until(has_status, timeout)
    return view


async def wait_until_waiting_for(store: Store, invocation_id: str, step_type: str) -> None:
    """Wait until the workflow is suspended and this step is what it waits for first."""

    async def is_waiting() -> bool:
        view = await query.get_workflow(store, invocation_id)
        return view.status == "suspended" and view.waiting_for is not None and view.waiting_for.name == step_type

    await wait_until(is_waiting)
