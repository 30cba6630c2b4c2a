"""The SDK's client: start, await and look at workflows from Python."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from durablectl import control, query
from durablectl.errors import UsageError
from durablectl.limits import checked_count, checked_microseconds, checked_seconds
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.filters import FILTERS, FilterKind, Filters
from durablectl.model.jobs import parse_outcomes
from durablectl.model.validation import LATEST
from durablectl.settings import SETTABLE, resolve
from durablectl.storage.connection.store import open_store
from durablectl.system.job_selection import start_job_matching

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from durablectl.control import OperationResult
    from durablectl.model.audit import AuditRecord
    from durablectl.model.jobs import ItemReport
    from durablectl.query import JobPage, JobView, StatsView, WorkflowPage, WorkflowView
    from durablectl.storage.connection.store import Store

Time = datetime | timedelta | None
"""A time, or how long ago; None for no bound."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _FilterOptions(TypedDict, total=False):
    """Filters; what they mean stands at Client.list_workflows."""

    status: str | Iterable[str]
    handler: str | Iterable[str]
    partition_key: str
    since: Time
    until: Time
    created_since: Time
    created_until: Time
    error: str
    parent: str
    waiting_for: str | Iterable[str]
    reason: str
    step: str
    owner: str
    input: str
    input_json: str
    id_prefix: str


class Client:
    """An ``async with`` connection to the workflows of one namespace.

    Without arguments it finds the server as the CLI does: environment, then NATS context, then the default. Keyword
    arguments are the fields of Settings (``url``, ``namespace``, ``creds``, ``timeout`` ...) and override field by
    field. Entering raises ConnectionFailedError, PermissionDeniedError, UnsupportedServerError or ConfigurationError.
    """

    def __init__(self, **overrides: str | float | None) -> None:
        unknown = sorted(set(overrides) - SETTABLE)
        if unknown:
            raise UsageError(f"Client has no setting {unknown[0]!r}.", hint=f"It has {', '.join(sorted(SETTABLE))}.")
        self._settings = resolve({k: None if v is None else str(v) for k, v in overrides.items()})
        self._stack = contextlib.AsyncExitStack()
        self._opened: Store | None = None

    async def __aenter__(self) -> Self:
        self._opened = await self._stack.enter_async_context(open_store(self._settings, name="durablectl client"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._opened = None
        await self._stack.aclose()

    @property
    def _store(self) -> Store:
        if self._opened is None:
            raise UsageError("The client is not connected.", hint="Use it inside `async with Client() as client:`.")
        return self._opened

    async def start(
        self,
        handler: str | Callable[..., Any],
        input: Any = None,
        *,
        id: str | None = None,
        partition_key: str | None = None,
        delay: float | timedelta | None = None,
    ) -> str:
        """Start a workflow, named or given as the decorated function, after ``delay`` seconds; its invocation id.

        ``input`` is a JSON value or a protobuf message. Returns once the start is stored and can be read. Raises
        AlreadyExistsError, InvalidNameError, InvalidValueError, PayloadTooLargeError.
        """
        name = handler if isinstance(handler, str) else getattr(handler, "name", "")
        delay_us = 0 if delay is None else checked_microseconds(delay, "The delay of client.start")
        start_at = await query.server_time(self._store) + delay_us if delay_us else 0
        request = control.StartRequest(name, input, id, partition_key, start_at)
        return await control.start(self._store, request)

    async def result(self, invocation_id: str, *, timeout: float | timedelta | None = None) -> Any:
        """Wait for the end, at most ``timeout`` seconds; the output.

        A protobuf output needs its generated module imported. Raises NotFoundError, WaitTimeoutError,
        WorkflowFailedError, WorkflowCancelledError.
        """
        limit = None if timeout is None else checked_seconds(timeout, "The timeout of client.result")
        return (await control.wait_for_outcome(self._store, invocation_id, limit)).output()

    async def get_workflow(
        self, invocation_id: str, *, steps: tuple[int | None, int | None] | None = None
    ) -> WorkflowView:
        """One workflow with its whole journal, or the ``steps`` from one number up to before another.

        Negative numbers count from the end, None is no bound: ``steps=(-50, None)`` are the last 50. Raises
        NotFoundError.
        """
        return await query.get_workflow(self._store, invocation_id, steps=steps)

    async def list_workflows(
        self,
        *,
        status: str | Iterable[str] = (),
        handler: str | Iterable[str] = (),
        partition_key: str = "",
        since: Time = None,
        until: Time = None,
        created_since: Time = None,
        created_until: Time = None,
        error: str = "",
        parent: str = "",
        waiting_for: str | Iterable[str] = (),
        reason: str = "",
        step: str = "",
        owner: str = "",
        input: str = "",
        input_json: str = "",
        id_prefix: str = "",
        limit: int = 50,
        cursor: str = "",
        oldest_first: bool = False,
    ) -> WorkflowPage:
        """Those that match everything given, the newest first; ``next_cursor`` of the page as ``cursor`` goes on.

        ``status`` may also be "active". ``since`` and ``until`` are about the last change, as datetime or as timedelta
        meaning ago; a datetime without zone is local time. ``error`` is a part of the error of failed ones, ``parent``
        the id of a parent, ``waiting_for`` what they wait for: "retry", "awakeable", "signal", "child", "timer",
        or "processor" for what is due and not taken. ``reason`` is a part of why they are paused or cancelled, ``step``
        the step at which they are or with which they failed, ``owner`` the processor that has them, ``input`` a part of
        the input as JSON, ``input_json`` a condition on it in a subset of jq, ``id_prefix`` the beginning of the id.
        The filters by creation, error, reason, step, owner, input and id read more than the page of at most 1,000.
        Raises UsageError, NotProvisionedError, and NotFoundError for the parent.
        """
        filters = await self._filters(
            status=status,
            handler=handler,
            partition_key=partition_key,
            since=since,
            until=until,
            created_since=created_since,
            created_until=created_until,
            error=error,
            parent=parent,
            waiting_for=waiting_for,
            reason=reason,
            step=step,
            owner=owner,
            input=input,
            input_json=input_json,
            id_prefix=id_prefix,
        )
        return await query.list_workflows(self._store, filters, limit, cursor=cursor, oldest_first=oldest_first)

    async def count_workflows(self, **filters: Unpack[_FilterOptions]) -> int:
        """How many match; the filters are those of list_workflows."""
        return await query.count_workflows(self._store, await self._filters(**filters))

    async def get_workflow_stats(self, **filters: Unpack[_FilterOptions]) -> StatsView:
        """Counts of those that match; the filters are those of list_workflows."""
        return await query.get_stats(self._store, await self._filters(**filters))

    def watch(self, invocation_id: str) -> AsyncGenerator[WorkflowView, None]:
        """The workflow as it stands and after every change, until it has ended. Raises NotFoundError."""
        return query.watch_workflow(self._store, invocation_id)

    async def pause(self, invocation_id: str, reason: str = "") -> OperationResult:
        """Start no further step; one in flight ends and is journaled. Raises NotFoundError, InvalidStateError."""
        return await control.pause(self._store, invocation_id, reason)

    async def resume(self, invocation_id: str) -> OperationResult:
        """Go on from the journal. Raises NotFoundError, InvalidStateError."""
        return await control.resume(self._store, invocation_id)

    async def cancel(self, invocation_id: str, reason: str = "", *, now: bool = False) -> OperationResult:
        """Interrupt the step in flight, run the compensations (not with ``now``) and end as cancelled.

        Raises NotFoundError, InvalidStateError. Returns when the cancellation is stored, not when it is done.
        """
        return await control.cancel(self._store, invocation_id, reason, now=now)

    async def retry(
        self, invocation_id: str, *, from_step: int | None = None, restart: bool = False
    ) -> OperationResult:
        """Go on with a failed or cancelled workflow from its first unfinished step, or from ``from_step``.

        With ``restart`` a new invocation with the same input is started; the result names it. Raises NotFoundError,
        InvalidStateError, UsageError.
        """
        if from_step is not None:
            checked_count(from_step, "The from_step of client.retry", 0, 2**31 - 1)
        if restart:
            if from_step is not None:
                raise UsageError("A restart begins at the first step.", hint="Give either from_step or restart.")
            return await control.restart(self._store, invocation_id)
        return await control.retry(self._store, invocation_id, from_step=from_step)

    async def retry_now(self, invocation_id: str) -> OperationResult:
        """Begin the next attempt of what backs off. Raises NotFoundError, InvalidStateError."""
        return await control.retry_now(self._store, invocation_id)

    async def restart_step(self, invocation_id: str, step: int | None = None) -> OperationResult:
        """Interrupt the attempt that is under way and begin the next one; ``step`` is its number (default: as shown).

        Raises NotFoundError, InvalidStateError where no step is in flight.
        """
        return await control.restart_step(self._store, invocation_id, step)

    async def delete(self, invocation_id: str) -> OperationResult:
        """Remove a workflow that has ended. Raises NotFoundError, InvalidStateError."""
        return await control.delete(self._store, invocation_id)

    async def start_job(
        self,
        operation: str,
        ids: Iterable[str] | None = None,
        *,
        rate: float = 0.0,
        operation_reason: str = "",
        now: bool = False,
        from_step: int | None = None,
        actor: str = "",
        **filters: Unpack[_FilterOptions],
    ) -> str:
        """Have the processors pause, resume, cancel, retry, restart, retry-now or delete workflows; the id of the job.

        Those of ``ids``, or all that match the filters of list_workflows now; without ``status`` those that the
        operation can change. ``rate`` is how many a second at most, 0 for no limit. ``operation_reason`` is kept with
        each workflow; ``now`` and ``from_step`` are those of the operation. The job waits for a processor where none
        lives. Where more than 1,000 match, the job selects them itself. Raises UsageError, InvalidNameError,
        PermissionDeniedError, and NotFoundError where nothing matches.
        """
        if from_step is not None:
            checked_count(from_step, "The from_step of client.start_job", 0, 2**31 - 1)
        parameters: dict[str, Any] = {
            "rate": rate,
            "reason": operation_reason,
            "now": now,
            "from_step": from_step,
            "actor": actor,
        }
        if ids is None:
            return await start_job_matching(self._store, operation, await self._filters(**filters), **parameters)
        if filters:
            raise UsageError("Ids and filters were given, but a workflow is chosen by one of them.")
        chosen = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        return await control.start_job(self._store, operation, chosen, **parameters)

    async def get_job(self, job_id: str) -> JobView:
        """A bulk job: its status, its counts, its rate. Raises NotFoundError."""
        return await query.get_job(self._store, job_id)

    async def list_jobs(self, *, status: str | Iterable[str] = (), limit: int = 50, cursor: str = "") -> JobPage:
        """The jobs, those first whose status changed last; a job is kept for 30 days after its end at least."""
        return await query.list_jobs(self._store, _to_collection(status), limit, cursor=cursor)

    def watch_job(self, job_id: str) -> AsyncGenerator[JobView, None]:
        """The job as it stands and after every batch, until it has ended. Raises NotFoundError."""
        return query.watch_job(self._store, job_id)

    def job_reports(self, job_id: str, outcome: str | Iterable[str] = "failed") -> AsyncIterator[ItemReport]:
        """Why workflows were not changed: those that "failed", were "skipped", or both. Raises NotFoundError."""
        return query.job_reports(self._store, job_id, parse_outcomes(_to_collection(outcome)))

    async def pause_job(self, job_id: str, reason: str = "") -> OperationResult:
        """Change no further workflow until it is resumed. Raises NotFoundError, InvalidStateError."""
        return await control.pause_job(self._store, job_id, reason)

    async def resume_job(self, job_id: str) -> OperationResult:
        """Go on where it was. Raises NotFoundError, InvalidStateError."""
        return await control.resume_job(self._store, job_id)

    async def cancel_job(self, job_id: str, reason: str = "") -> OperationResult:
        """End it; what it has changed stays changed. Raises NotFoundError, InvalidStateError."""
        return await control.cancel_job(self._store, job_id, reason)

    async def audit(
        self,
        name: str = "",
        *,
        since: Time = None,
        until: Time = None,
        actor: str = "",
        action: str = "",
        limit: int | None = 50,
    ) -> list[AuditRecord]:
        """Who changed what: the newest ``limit`` changes that match, the oldest of them first; None for all.

        ``name`` is a workflow or schedule, a deleted one too. ``actor`` is a part of the actor, its address or its
        NATS user, ``action`` a word such as "cancel". Raises InvalidNameError, NotProvisionedError.
        """
        bounds = {"since": since, "until": until}
        now = await query.server_time(self._store) if since or until else 0
        first, last = (0 if at is None else _to_timestamp_us(option, at, now) for option, at in bounds.items())
        return await query.list_audit(
            self._store, name, since=first, until=last, actor=actor, action=action, limit=limit
        )

    async def _filters(self, **given: Unpack[_FilterOptions]) -> Filters:
        """What a timedelta says is counted from now by the server's clock."""
        is_relative = any(isinstance(each, timedelta) for each in given.values())
        return _to_filters(await query.server_time(self._store) if is_relative else SYSTEM_CLOCK.now(), **given)

    async def signal(self, invocation_id: str, name: str, value: Any = None) -> OperationResult:
        """Send a signal, kept until the workflow asks for that name; the name is not checked.

        ``get_workflow`` lists in ``unclaimed`` what it has not received. Raises NotFoundError, InvalidStateError,
        InvalidValueError.
        """
        return await control.signal(self._store, invocation_id, name, value)

    async def resolve(self, awakeable_id: str, value: Any = None) -> OperationResult:
        """Answer an awakeable, kept until the workflow asks for it; the name is not checked.

        ``get_workflow`` lists in ``unclaimed`` what it has not received. Raises NotFoundError, InvalidStateError,
        InvalidValueError.
        """
        return await control.resolve(self._store, awakeable_id, value)

    async def reject(self, awakeable_id: str, error: str) -> OperationResult:
        """Answer an awakeable with an error. Raises NotFoundError, InvalidStateError."""
        return await control.reject(self._store, awakeable_id, error)


def _to_filters(now: int, **given: Unpack[_FilterOptions]) -> Filters:
    unknown = given.keys() - {each.name for each in FILTERS}
    if unknown:
        raise TypeError(f"there is no filter {min(unknown)!r}")
    values: dict[str, Any] = {}
    for each in FILTERS:
        value: Any = given.get(each.name)
        if value is None:
            continue
        if each.is_repeatable:
            value = _to_collection(value)
        elif each.kind is FilterKind.TIME:
            value = _to_timestamp_us(each.name, value, now)
        values[each.field] = value
    return Filters.parse(**values)


def _to_timestamp_us(name: str, time: datetime | timedelta, now: int) -> int:
    """In microseconds; at least 1, as 0 would be no bound at all."""
    if isinstance(time, timedelta):
        moment = now - time // timedelta(microseconds=1)
    elif isinstance(time, datetime):
        try:
            moment = (time.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
        except (OverflowError, ValueError, OSError):
            raise UsageError(f"{name} cannot be used: {time!r} has no UTC time.") from None
    else:
        raise UsageError(
            f"{name} is a datetime, or a timedelta meaning ago; it cannot be {time!r}.",
            hint="For example since=timedelta(hours=2).",
        )
    if moment >= LATEST:
        raise UsageError(f"{name} cannot be used: {time!r} does not lie between 1970 and 9999.")
    return max(1, moment)


def _to_collection(value: str | Iterable[str]) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value
