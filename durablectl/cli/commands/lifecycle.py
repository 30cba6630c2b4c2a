"""`durablectl wf pause`, `resume`, `cancel`, `retry`, `retry-now`, `delete` of one workflow or many; `restart-step`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.bulk import BulkOperation, JobRequest, print_result, run_operation
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.options.targets import Targets, with_targets
from durablectl.cli.terminal.output import Output, OutputFormat
from durablectl.errors import UsageError
from durablectl.model.jobs import JobOperation
from durablectl.model.kinds import WaitingFor
from durablectl.model.status import ACTIVE, TERMINAL, Status
from durablectl.model.user_input import parse_duration
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.control import OperationResult
    from durablectl.storage.connection.store import Store

_FORMATS = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL, OutputFormat.NAME)
_RETRIABLE = (Status.FAILED, Status.CANCELLED)
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with it, and shown everywhere.")]


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def pause(reason: _Reason = "", *, targets: Targets, settings: Settings, output: Output) -> int:
    """Start no further step; one in flight ends first.

    Example: durablectl wf pause order-17 --reason 'the payment service is down'
    """
    from durablectl import control

    act = functools.partial(control.pause, reason=reason)
    job = JobRequest(JobOperation.PAUSE, reason)
    statuses = sorted(ACTIVE - {Status.PAUSED})
    return await run_operation(settings, targets, output, BulkOperation("pause", statuses, act, job))


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def resume(*, targets: Targets, settings: Settings, output: Output) -> int:
    """Go on with paused workflows.

    Example: durablectl wf resume --handler checkout --yes
    """
    from durablectl import control

    operation = BulkOperation("resume", (Status.PAUSED,), control.resume, JobRequest(JobOperation.RESUME))
    return await run_operation(settings, targets, output, operation)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def cancel(
    reason: _Reason = "",
    now: Annotated[bool, typer.Option("--now", help="End at once, without the workflow's compensations.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until the compensations have run.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long --wait waits: 30s, 5m; without it, for ever.")
    ] = None,
    *,
    targets: Targets,
    settings: Settings,
    output: Output,
) -> int:
    """End workflows, and run their compensations.

    The step in flight is interrupted. Until the compensations have run, the workflow shows as running.

    Example: durablectl wf cancel order-17 --reason 'ordered by mistake' --wait
    """
    if timeout is not None and not wait:
        raise UsageError("--timeout is about --wait, which was not given.", hint="Add --wait, or leave --timeout out.")
    limit = None if timeout is None else parse_duration(timeout, "--timeout")

    from durablectl import control

    async def act(store: Store, invocation_id: str) -> OperationResult:
        result = await control.cancel(store, invocation_id, reason, now=now)
        return await control.wait_until_cancelled(store, result, limit) if wait else result

    job = None if wait else JobRequest(JobOperation.CANCEL, reason, now)
    operation = BulkOperation("cancel", sorted(ACTIVE), act, job, "--wait waits for each workflow.")
    return await run_operation(settings, targets, output, operation)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def retry(
    from_step: Annotated[
        int | None, typer.Option("--from-step", metavar="N", min=0, help="Drop the journal from this step on.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start a new workflow with the same input instead, linked to this one.")
    ] = False,
    *,
    targets: Targets,
    settings: Settings,
    output: Output,
) -> int:
    """Go on with failed or cancelled workflows.

    They go on from their first unfinished step, with the journal kept. `durablectl wf get ID --history` shows what
    --from-step has dropped. After compensations, the answer says that --from-step 0 runs what they have undone again.

    Example: durablectl wf list --status failed -o name | durablectl wf retry -
    """
    if restart and from_step is not None:
        raise UsageError("A restart begins at the first step.", hint="Give either --from-step or --restart.")

    from durablectl import control

    again = control.restart if restart else functools.partial(control.retry, from_step=from_step)
    verb = JobOperation.RESTART if restart else JobOperation.RETRY
    job = JobRequest(verb, from_step=from_step)
    return await run_operation(settings, targets, output, BulkOperation(verb, _RETRIABLE, again, job))


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def retry_now(*, targets: Targets, settings: Settings, output: Output) -> int:
    """Try now what waits for another attempt.

    The attempt counts; after it, the back-off is the next longer one.

    Example: durablectl wf retry-now --handler checkout --step charge --yes
    """
    from durablectl import control

    statuses = (Status.RUNNING, Status.SUSPENDED)
    job = JobRequest(JobOperation.RETRY_NOW)
    kinds: frozenset[str] = frozenset({WaitingFor.RETRY})
    operation = BulkOperation("retry now", statuses, control.retry_now, job, waiting_for=kinds)
    return await run_operation(settings, targets, output, operation)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
async def restart_step(
    invocation_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_id)],
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="N", min=0, help="The number of the step (default: the one that it shows)."),
    ] = None,
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Interrupt a step that hangs, and run it again.

    The interrupted attempt counts. Code in a thread cannot be interrupted: it goes on beside the next attempt.

    Example: durablectl wf restart-step order-17
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.restart_step(store, invocation_id, step), output)


@asynchronous
@with_connection
@with_output(formats=_FORMATS)
@with_targets
async def delete(*, targets: Targets, settings: Settings, output: Output) -> int:
    """Remove workflows that have ended, with their journals.

    Example: durablectl wf delete --status completed --handler reminder --dry-run
    """
    from durablectl import control

    operation = BulkOperation("delete", sorted(TERMINAL), control.delete, JobRequest(JobOperation.DELETE))
    return await run_operation(settings, targets, output, operation)
