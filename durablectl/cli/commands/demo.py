"""`durablectl demo`: durable workflows on a real JetStream, shown live, with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console
from durablectl.errors import DurableError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.status import Status, is_terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.cli.local_stack import LocalStack
    from durablectl.query import StatsView, WorkflowPage, WorkflowView
    from durablectl.storage.connection.store import Store

_BETWEEN_STARTS_SECONDS = 0.35
_FRAME_SECONDS = 0.1
_LIMIT_SECONDS = 15.0
_GRACE_SECONDS = 0.2


class _Sample(NamedTuple):
    invocation_id: str
    handler: str
    input: Any
    caption: str
    end: Status = Status.COMPLETED


_SAMPLES = (
    _Sample(
        "cart",
        "add_ticket_to_cart",
        {"ticket_id": "A-7", "user_id": "ada"},
        "a ticket, kept in the workflow's own state",
    ),
    _Sample("report", "slow_workflow", "report", "three steps of a second, each journaled before the next"),
    _Sample("hello", "hello_workflow", "Ada", "one call to a NATS micro service"),
    _Sample("user-1", "async_workflow", "user-001", "three calls, one after the other"),
    _Sample("order", "flaky_workflow", "flaky", "a step fails, is tried again, and fails for good", Status.FAILED),
    _Sample("team", "greet_many", ["Ada", "Grace", "Edsger", "Barbara"], "four calls side by side"),
    _Sample("video", "slow_workflow", "video", "while it sleeps, the others go on"),
    _Sample("grace", "hello_workflow", "Grace", "a processor runs a hundred of them at once"),
    _Sample("retry", "flaky_workflow", "flaky retry", "the code of order, but this time its step succeeds"),
    _Sample("user-2", "async_workflow", "user-002", "every workflow has a journal of its own"),
)


class _DemoRun:
    """What has happened so far; ``changed`` is called after each change that was pushed."""

    def __init__(self) -> None:
        self.workflows: dict[str, WorkflowView] = {}
        self.caption = ("", "")
        self.changed: Callable[[WorkflowView], None] = lambda _: None
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def unfinished(self) -> list[str]:
        ended = {key for key, view in self.workflows.items() if is_terminal(view.status)}
        return [sample.invocation_id for sample in _SAMPLES if sample.invocation_id not in ended]

    def take(self, view: WorkflowView) -> None:
        self.workflows[view.invocation_id] = view
        self.changed(view)


@asynchronous(fast=True)
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON))
async def demo(*, output: Output) -> None:
    """Run sample workflows on a nats-server of their own, shown live: takes six seconds and leaves nothing behind.

    Example: durablectl demo
    """
    from durablectl import query
    from durablectl.cli.local_stack import run_local_stack
    from durablectl.embedded import EmbeddedServer
    from durablectl.engine.sdk.app_loader import SAMPLE_APP, load_app
    from durablectl.engine.worker.processor import ProcessorOptions

    logging.getLogger().addHandler(logging.NullHandler())  # the board shows what would be logged
    app = load_app([SAMPLE_APP], "sample")
    show = _DemoRun()
    with tempfile.TemporaryDirectory(prefix="durablectl-demo-", ignore_cleanup_errors=True) as directory:
        server = EmbeddedServer(Path(directory))
        async with run_local_stack(server, app, ProcessorOptions(grace=_GRACE_SECONDS)) as stack:
            async with _displayed(show, stack, output):
                await _play(stack.store, show)
            page, stats = await query.list_workflows(stack.store), await query.get_stats(stack.store)
    _check(show)
    _conclude(output, page, stats)


async def _play(store: Store, show: _DemoRun) -> None:
    """Start the samples, and take in what JetStream pushes until all have ended."""
    from durablectl import query

    try:
        async with asyncio.timeout(_LIMIT_SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(_start(store, show))
            async with contextlib.aclosing(query.watch_all(store)) as views:
                async for view in views:
                    show.take(view)
                    if not show.unfinished:
                        break
    except TimeoutError:
        late = ", ".join(show.unfinished)
        raise DurableError(f"After {_LIMIT_SECONDS:g} s these workflows had not ended: {late}.") from None


async def _start(store: Store, show: _DemoRun) -> None:
    from durablectl import control

    for sample in _SAMPLES:
        show.caption = (sample.invocation_id, sample.caption)
        await control.start(store, control.StartRequest(sample.handler, sample.input, sample.invocation_id))
        await asyncio.sleep(_BETWEEN_STARTS_SECONDS)
    show.caption = ("", "All are started; the last ones are on their way.")


@contextlib.asynccontextmanager
async def _displayed(show: _DemoRun, stack: LocalStack, output: Output) -> AsyncIterator[None]:
    """A live screen on a terminal, a line for each change elsewhere, nothing when only the JSON at the end counts."""
    if output.is_json:
        yield
    elif output.decorated:
        async with _live(show, stack):
            yield
    else:
        from durablectl.cli.render.demo import change_line
        from durablectl.cli.render.local_stack import demo_rows

        for label, text in demo_rows(stack.view):
            typer.echo(f"{label}: {text}", err=True)
        show.changed = lambda view: typer.echo(change_line(view, SYSTEM_CLOCK.now()))
        yield


@contextlib.asynccontextmanager
async def _live(show: _DemoRun, stack: LocalStack) -> AsyncIterator[None]:
    from rich.live import Live

    from durablectl.cli.render.demo import demo_screen

    console = stdout_console()

    def draw(_: WorkflowView | None = None) -> None:
        screen = demo_screen(
            stack.view,
            list(show.workflows.values()),
            len(_SAMPLES),
            show.caption,
            now=SYSTEM_CLOCK.now(),
            elapsed=show.elapsed,
            width=console.width,
        )
        live.update(screen, refresh=True)

    async def tick() -> None:
        while True:
            await asyncio.sleep(_FRAME_SECONDS)
            draw()

    with Live(console=console, auto_refresh=False) as live:
        show.changed = draw
        ticking = asyncio.create_task(tick())
        try:
            yield
            show.caption = ("", "All have ended; order failed because its input asked for it.")
        finally:
            ticking.cancel()
            draw()


def _check(show: _DemoRun) -> None:
    for sample in _SAMPLES:
        view = show.workflows[sample.invocation_id]
        if view.status != sample.end:
            why = f": {view.error}" if view.error else ""
            raise DurableError(f"The workflow {view.invocation_id} should be {sample.end}, but is {view.status}{why}.")


def _conclude(output: Output, page: WorkflowPage, stats: StatsView) -> None:
    if output.is_json:
        output.print_json({**page.to_json(), "stats": stats.to_json()})
        return
    from durablectl.cli.render.demo import next_steps
    from durablectl.cli.render.stats import stats_lines

    if not output.decorated:
        typer.echo(f"\n{stats_lines(stats, SYSTEM_CLOCK.now())}")
        typer.echo(f"\n{next_steps()}", err=True)
        return
    console = stdout_console()
    by_status = ", ".join(f"{number} {status}" for status, number in stats.by_status.items())
    console.print(f"\n{stats.total} workflows: {by_status}.\n")
    console.print(next_steps(), soft_wrap=True)
