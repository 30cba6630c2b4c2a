"""One operation on one workflow or many: chosen, asked about, carried out, accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from durablectl.cli.handler_notes import note_unknown_handlers
from durablectl.cli.options.targets import BACKGROUND_OVER
from durablectl.cli.terminal.output import (
    Output,
    OutputFormat,
    is_decorated,
    note,
    print_json,
    show,
    stderr_console,
    stdout_console,
)
from durablectl.cli.terminal.progress import ReadProgress, progress_bar
from durablectl.cli.terminal.question import agrees, can_ask
from durablectl.errors import ConnectionFailedError, DurableError, UsageError
from durablectl.model.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from durablectl.cli.options.targets import Targets
    from durablectl.control import OperationResult
    from durablectl.model.filters import Filters
    from durablectl.model.jobs import JobOperation
    from durablectl.query import SelectedWorkflow
    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store

SOME_FAILED = 6
NO_JOB_PROCESSOR = (
    "No live processor carries out jobs: it waits until one is started (durablectl run processor); "
    "--foreground does it from here."
)
_DECLINED = 1
_AT_ONCE = 16
_SAMPLE = 10
_GRACE_SECONDS = 5.0


class JobRequest(NamedTuple):
    """The same operation as a job: the fields of JobSpec."""

    operation: JobOperation
    reason: str = ""
    now: bool = False
    from_step: int | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {"reason": self.reason, "now": self.now, "from_step": self.from_step}


class BulkOperation(NamedTuple):
    """``verb`` is what the question asks; ``statuses`` and ``waiting_for`` complete filters that name none.

    Without ``job`` it cannot be done in the background; ``why_no_job`` says why.
    """

    verb: str
    statuses: Sequence[str]
    act: Callable[[Store, str], Awaitable[OperationResult]]
    job: JobRequest | None
    why_no_job: str = ""
    waiting_for: frozenset[str] = frozenset()


@dataclass
class _Tally:
    total: int
    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    lost: ConnectionFailedError | None = None

    def add(self, result: OperationResult | DurableError) -> None:
        if isinstance(result, DurableError):
            self.failed += 1
            if isinstance(result, ConnectionFailedError):
                self.lost = result
        elif result.changed:
            self.changed += 1
        else:
            self.unchanged += 1


async def run_operation(settings: Settings, targets: Targets, output: Output, operation: BulkOperation) -> int:
    """The exit code. A single id raises its error; of many, each result is a line of its own."""
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        if targets.background and operation.job is None:
            raise UsageError(f"A job cannot do this: {operation.why_no_job}", hint="Leave out --background.")
        if targets.is_one and not targets.dry_run and not targets.background:
            print_result(await operation.act(store, targets.ids[0]), output)
            return 0
        targets = await _by_server_time(store, targets)
        if (many := await _left_to_job(store, targets, operation)) is not None:
            return await _start_selecting_job(store, many, targets, operation, output)
        return await _run_selected(store, targets, operation, output)


async def _run_selected(store: Store, targets: Targets, operation: BulkOperation, output: Output) -> int:
    """What is selected from here, done from here or by a job; the exit code."""
    from durablectl.cli.render.formatting import count

    selected = await _selected(store, targets, operation)
    filtered = targets.filters is not None
    ids = [each.invocation_id for each in selected] if filtered else list(targets.ids)
    job = _job_for(targets, operation, len(ids))
    if targets.dry_run:
        _show_selection(selected, ids, operation, output, in_background=job is not None)
        return 0
    if not ids:
        note(f"Nothing to {operation.verb}: {'no workflow matches' if filtered else 'no ids came'}.")
        await note_unknown_handlers(store, targets.filters.handlers if targets.filters is not None else ())
        return 0
    is_asked = filtered and not targets.yes
    if is_asked and not await _is_agreed(store, selected[:_SAMPLE], len(selected), operation, job):
        note("Nothing was changed.")
        return _DECLINED
    if job is None:
        return await _carry_out(store, ids, operation, output, targets.rate)
    filters = None if targets.filters is None else _with_defaults(targets.filters, operation)
    job_id = await _start_job(store, job, ids, filters, targets.rate, output)
    note(_following(operation, count(len(ids), "workflow"), job_id))
    if not is_asked:  # else the question came with it
        await _note_waiting_jobs(store)
    return 0


async def _by_server_time(store: Store, targets: Targets) -> Targets:
    if targets.filters is None:
        return targets
    from durablectl import query

    return replace(targets, filters=await query.by_server_time(store, targets.filters))


def _job_for(targets: Targets, operation: BulkOperation, number: int) -> JobRequest | None:
    """What to start as a job; None where it is done from here."""
    in_background = number > BACKGROUND_OVER if targets.background is None else targets.background
    return operation.job if in_background else None


class _ManyMatches(NamedTuple):
    """What a job is to select: ``number`` matches, or no more than that."""

    job: JobRequest
    filters: Filters
    number: int


async def _left_to_job(store: Store, targets: Targets, operation: BulkOperation) -> _ManyMatches | None:
    """What a job is to select; None where it is selected from here.

    That they are many must be known without reading their records, unless a job is asked for, and no question.
    """
    if targets.filters is None or operation.job is None or targets.dry_run or targets.background is False:
        return None
    from durablectl import query

    filters = _with_defaults(targets.filters, operation)
    if filters.needs_states and not (targets.background and targets.yes):
        return None
    number = await query.count_candidates(store, filters)
    return _ManyMatches(operation.job, filters, number) if number > BACKGROUND_OVER else None


async def _start_selecting_job(
    store: Store, many: _ManyMatches, targets: Targets, operation: BulkOperation, output: Output
) -> int:
    """Ask with a sample, and start a job that selects what matches; the exit code."""
    from durablectl import query
    from durablectl.cli.render.formatting import count

    if not targets.yes:
        oldest = (await query.list_workflows(store, many.filters, _SAMPLE, oldest_first=True)).workflows
        sample = [query.SelectedWorkflow(v.invocation_id, v.handler, v.status, v.created_at) for v in oldest]
        if not await _is_agreed(store, sample, many.number, operation, many.job):
            note("Nothing was changed.")
            return _DECLINED
    job_id = await _start_job(store, many.job, None, many.filters, targets.rate, output)
    what = "what matches" if many.filters.needs_states else count(many.number, "workflow")
    note(_following(operation, what, job_id))
    if targets.yes:
        await _note_waiting_jobs(store)
    return 0


async def _start_job(
    store: Store, job: JobRequest, ids: Sequence[str] | None, filters: Filters | None, rate: float, output: Output
) -> str:
    """The id of the job, printed, too. Without ``ids`` the job selects what matches."""
    from durablectl import control, query

    job_id = await control.start_job(store, job.operation, ids, filters=filters, rate=rate, **job.parameters)
    if output.is_json:
        output.print_json((await query.get_job(store, job_id)).to_json())
    else:
        typer.echo(job_id)
    return job_id


def _following(operation: BulkOperation, what: str, job_id: str) -> str:
    return f"A job will {operation.verb} {what}; follow it: durablectl jobs watch {job_id}"


async def _note_waiting_jobs(store: Store) -> None:
    from durablectl import control

    if not await control.can_run_jobs(store):
        note(NO_JOB_PROCESSOR)


def _with_defaults(filters: Filters, operation: BulkOperation) -> Filters:
    return replace(
        filters,
        statuses=filters.statuses or frozenset(operation.statuses),
        waiting_for=filters.waiting_for or operation.waiting_for,
    )


def print_result(result: OperationResult, output: Output) -> None:
    """The result for a single workflow."""
    if output.is_json:
        output.print_json(result.to_json())
    else:
        typer.echo(result.invocation_id if output.format is OutputFormat.NAME else result.message)


async def _selected(store: Store, targets: Targets, operation: BulkOperation) -> list[SelectedWorkflow]:
    from durablectl import query

    if targets.filters is not None:
        filters = _with_defaults(targets.filters, operation)
        with ReadProgress() as reading:
            return await query.select_workflows(store, filters, progress=reading.show)
    return await query.select_ids(store, targets.ids) if targets.dry_run else []


async def _is_agreed(
    store: Store, sample: Sequence[SelectedWorkflow], number: int, operation: BulkOperation, job: JobRequest | None
) -> bool:
    from durablectl.cli.render.bulk import selection_table
    from durablectl.cli.render.formatting import count

    many = count(number, "workflow")
    if not can_ask():
        raise UsageError(
            f"This would {operation.verb} {many}{_how(job)}; nothing was changed.",
            hint="Add --yes to do it, or --dry-run to see which.",
        )
    console = stderr_console()
    show(console, selection_table(sample, number, SYSTEM_CLOCK.now(), console.width))
    if job is not None:
        await _note_waiting_jobs(store)
    which = f"these {many}" if number > 1 else "it"
    from_here = "" if job is None else " (--foreground does it from here)"
    return await agrees(f"{operation.verb.capitalize()} {which}{_how(job)}{from_here}?")


def _how(job: JobRequest | None) -> str:
    return "" if job is None else " as a background job"


def _show_selection(
    selected: Sequence[SelectedWorkflow],
    ids: Sequence[str],
    operation: BulkOperation,
    output: Output,
    *,
    in_background: bool,
) -> None:
    from durablectl.cli.render.bulk import selection_lines, selection_table
    from durablectl.cli.render.formatting import count

    if output.is_json:
        for each in selected:
            print_json(each.to_json(), one_line=True)
    elif output.format is OutputFormat.NAME:
        for each in selected:
            typer.echo(each.invocation_id)
    elif selected and output.decorated:
        console = stdout_console()
        show(console, selection_table(selected[:_SAMPLE], len(selected), SYSTEM_CLOCK.now(), console.width))
    elif selected:
        typer.echo(selection_lines(selected))
    known = {each.invocation_id for each in selected}
    for missing in (each for each in ids if each not in known):
        note(f"There is no workflow {missing}.")
    how = " as a background job" if in_background else ""
    note(f"Would {operation.verb} {count(len(selected), 'workflow')}{how}. Nothing was changed.")


async def _carry_out(store: Store, ids: Sequence[str], operation: BulkOperation, output: Output, rate: float) -> int:
    from durablectl.cli.render.bulk import bulk_summary

    tally = _Tally(len(ids))
    try:
        with _printer(ids, output) as tell:
            await _Runner(store, operation, tally, tell).work(ids, rate)
    finally:
        note(bulk_summary(tally.total, tally.changed, tally.unchanged, tally.failed))
    if tally.lost is not None:
        raise tally.lost
    return SOME_FAILED if tally.failed else 0


@dataclass
class _Runner:
    """Several at once, told in the order given. Interrupted, it begins no more, but ends what it has begun."""

    store: Store
    operation: BulkOperation
    tally: _Tally
    tell: Callable[[str, OperationResult | DurableError], None]
    running: deque[tuple[str, asyncio.Task[OperationResult | DurableError]]] = field(default_factory=deque)

    async def work(self, ids: Sequence[str], rate: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            for index, invocation_id in enumerate(ids):
                while len(self.running) >= _AT_ONCE:
                    await self._first()
                if self.tally.lost is not None:
                    break
                if rate:
                    await self._until(begun + index / rate)
                self.running.append((invocation_id, loop.create_task(self._one(invocation_id))))
            while self.running:
                await self._first()
        except BaseException:
            await self._end_what_was_begun()
            raise

    async def _one(self, invocation_id: str) -> OperationResult | DurableError:
        try:
            return await self.operation.act(self.store, invocation_id)
        except DurableError as error:
            return error

    async def _until(self, moment: float) -> None:
        """Tells what ends in the meantime."""
        loop = asyncio.get_running_loop()
        while (left := moment - loop.time()) > 0:
            if not self.running:
                await asyncio.sleep(left)
                continue
            await asyncio.wait([self.running[0][1]], timeout=left)
            if self.running[0][1].done():
                await self._first()

    async def _first(self) -> None:
        invocation_id, task = self.running[0]
        await asyncio.wait([task])  # unlike awaiting it, leaves it alone when this is cancelled
        self.running.popleft()
        result = task.result()
        self.tally.add(result)
        self.tell(invocation_id, result)

    async def _end_what_was_begun(self) -> None:
        if self.running:
            await asyncio.wait([task for _, task in self.running], timeout=_GRACE_SECONDS)
        for invocation_id, task in self.running:
            if not task.done():
                task.cancel()
            elif not task.cancelled() and task.exception() is None:
                self.tally.add(task.result())
                with contextlib.suppress(OSError):
                    self.tell(invocation_id, task.result())


@contextlib.contextmanager
def _printer(ids: Sequence[str], output: Output) -> Iterator[Callable[[str, OperationResult | DurableError], None]]:
    """What prints a result, with a progress bar on a terminal where the results themselves go elsewhere."""
    from durablectl.cli.render.bulk import result_json, result_line, result_text

    width = max(map(len, ids))
    console = stdout_console() if output.decorated else None

    def tell(invocation_id: str, result: OperationResult | DurableError) -> None:
        if output.is_json:
            print_json(result_json(invocation_id, result), one_line=True)
        elif output.format is OutputFormat.NAME:
            if isinstance(result, DurableError):
                note(f"{invocation_id}: {result.message}")
            else:
                typer.echo(result.invocation_id)
        elif console is not None:
            show(console, result_line(invocation_id, result, width))
        else:
            typer.echo(result_text(invocation_id, result))

    if len(ids) <= _AT_ONCE or sys.stdout.isatty() or not is_decorated(sys.stderr):
        yield tell
        return
    with progress_bar(len(ids)) as advance:

        def tell_and_move(invocation_id: str, result: OperationResult | DurableError) -> None:
            tell(invocation_id, result)
            advance()

        yield tell_and_move
