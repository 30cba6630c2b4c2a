"""`durablectl jobs`: bulk operations that processors carry out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.bulk import NO_JOB_PROCESSOR, SOME_FAILED, print_result
from durablectl.cli.completion.completers import complete_job, complete_status
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.follow import end_with_reader, log_warnings
from durablectl.cli.terminal.output import WIDE, Output, OutputFormat, note, print_json, show, stdout_console
from durablectl.errors import WorkflowCancelledError, WorkflowFailedError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.jobs import ItemOutcome
from durablectl.model.status import Status
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from durablectl.model.jobs import ItemReport
    from durablectl.query import JobView

_ONE = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
_LIMIT = 50
_AT_A_TIME = 100
_JobId = Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_job)]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the job.")]


@asynchronous
@with_connection
@with_output
@with_times
async def list_(
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", metavar="STATUS", help="Only this status; repeatable.", autocompletion=complete_status
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="At most so many.")] = _LIMIT,
    cursor: Annotated[str, typer.Option(metavar="CURSOR", help="Go on behind a page: its next_cursor.")] = "",
    *,
    times: TimeFormat,
    settings: Settings,
    output: Output,
) -> None:
    """List the jobs, those first whose status changed last.

    A job is kept for 30 days after its end, and removed when another one completes.

    Example: durablectl jobs list --status running
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        page = await query.list_jobs(store, status or (), limit, cursor=cursor)
    views = page.jobs
    if output.format is OutputFormat.JSON:
        output.print_json(page.to_json())
        return
    if output.format is OutputFormat.JSONL:
        for view in views:
            output.print_json(view.to_json())
    elif output.format is OutputFormat.NAME:
        for view in views:
            typer.echo(view.job_id)
    elif views:
        _print_table(views, output, times)
    if page.next_cursor:
        note(f"{page.total:,} jobs in all; go on with --cursor {page.next_cursor}")
    elif not views and output.format is not OutputFormat.JSONL:
        note("No jobs. A bulk command starts one with --background.")


def _print_table(views: Sequence[JobView], output: Output, times: TimeFormat) -> None:
    from durablectl.cli.render.jobs import job_lines, job_table

    if not output.decorated:
        typer.echo(job_lines(views, SYSTEM_CLOCK.now(), times))
        return
    console = stdout_console()
    width = WIDE if output.format is OutputFormat.WIDE else console.width
    show(console, job_table(views, SYSTEM_CLOCK.now(), width, times))


@asynchronous
@with_connection
@with_output(formats=_ONE)
@with_times
async def get(
    job_id: _JobId,
    failures: Annotated[
        bool, typer.Option("--failures", help="The workflows that could not be changed, each with the reason.")
    ] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="The workflows that no longer matched when their turn came.")
    ] = False,
    *,
    times: TimeFormat,
    settings: Settings,
    output: Output,
) -> None:
    """Show one job, or with --failures what it could not change.

    Example: durablectl jobs get job-0a1b2c3d4e --failures -o jsonl > failures.jsonl
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    wanted = [
        outcome for outcome, is_wanted in ((ItemOutcome.FAILED, failures), (ItemOutcome.SKIPPED, skipped)) if is_wanted
    ]
    async with open_store(settings) as store:
        view = await query.get_job(store, job_id)
        if wanted:
            await _print_reports(view, query.job_reports(store, job_id, wanted), wanted, output)
            return
    if output.is_json:
        output.print_json(view.to_json())
        return
    from durablectl.cli.render.jobs import job_page, job_text

    if output.decorated:
        console = stdout_console()
        show(console, job_page(view, SYSTEM_CLOCK.now(), console.width, times))
    else:
        typer.echo(job_text(view, SYSTEM_CLOCK.now(), times))


async def _print_reports(
    view: JobView, reports: AsyncIterator[ItemReport], wanted: Sequence[ItemOutcome], output: Output
) -> None:
    from durablectl.cli.render.jobs import report_lines, report_table

    progress = view.progress
    expected = sum({ItemOutcome.FAILED: progress.failed, ItemOutcome.SKIPPED: progress.skipped}[o] for o in wanted)
    shown = 0
    parts: list[ItemReport] = []
    console = stdout_console() if output.decorated else None

    def print_part() -> None:
        if console is not None:
            show(console, report_table(parts, console.width))
        else:
            typer.echo(report_lines(parts))
        parts.clear()

    async for report in reports:
        shown += 1
        if output.format is OutputFormat.JSONL:
            output.print_json(report.to_json())
            continue
        parts.append(report)
        # A document, and the columns of a table, need all of them; lines do not.
        if console is None and not output.is_json and len(parts) == _AT_A_TIME:
            print_part()
    if output.format is OutputFormat.JSON:
        output.print_json({"job_id": view.job_id, "reports": [each.to_json() for each in parts], "total": expected})
    elif parts:
        print_part()
    if shown < expected and progress.failed + progress.skipped > progress.kept:
        note(f"{shown:,} of {expected:,} are kept: of a job, the reasons of the first {progress.kept:,}.")
    elif not shown:
        has_others = progress.failed + progress.skipped > 0
        note("None of these." if has_others else "None: every workflow that it came to was changed, or was so already.")


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def watch(
    job_id: _JobId,
    exit_status: Annotated[
        bool,
        typer.Option(
            "--exit-status",
            help="Exit with 6 if some workflows failed, 10 if the job itself did, 11 if it was cancelled.",
        ),
    ] = False,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Follow a job live until it has ended; Ctrl-C ends the watch, and the job goes on.

    Off a terminal, or with --json, every change is one JSON object on a line.

    Example: durablectl jobs watch job-0a1b2c3d4e --exit-status
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        views = query.watch_job(store, job_id)
        last = await (_show(views) if output.decorated and not output.is_json else _print(views))
    return _exit_code(last) if exit_status and last is not None else 0


def _exit_code(view: JobView) -> int:
    codes = {Status.FAILED: WorkflowFailedError.exit_code, Status.CANCELLED: WorkflowCancelledError.exit_code}
    by_status: int = codes.get(view.status, 0)  # type: ignore[call-overload]  # others may store statuses of their own
    return by_status or (SOME_FAILED if view.progress.failed else 0)


async def _show(views: AsyncGenerator[JobView, None]) -> JobView | None:
    from durablectl.cli.terminal.live_screen import JobScreen

    async with contextlib.aclosing(views):
        return await JobScreen().show(views)


async def _print(views: AsyncGenerator[JobView, None]) -> JobView | None:
    last = None
    with log_warnings(), end_with_reader():
        async with contextlib.aclosing(views):
            async for view in views:
                last = view
                print_json(view.to_json(), one_line=True)
    return last


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def pause(job_id: _JobId, reason: _Reason = "", *, settings: Settings, output: Output) -> None:
    """Change no further workflow until the job is resumed.

    Example: durablectl jobs pause job-0a1b2c3d4e
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.pause_job(store, job_id, reason), output)


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def resume(job_id: _JobId, *, settings: Settings, output: Output) -> None:
    """Go on with a paused job where it was.

    Example: durablectl jobs resume job-0a1b2c3d4e
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.resume_job(store, job_id), output)
        if not await control.can_run_jobs(store):
            note(NO_JOB_PROCESSOR)


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def cancel(job_id: _JobId, reason: _Reason = "", *, settings: Settings, output: Output) -> None:
    """End a job; what it has changed stays changed.

    Example: durablectl jobs cancel job-0a1b2c3d4e
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        print_result(await control.cancel_job(store, job_id, reason), output)
