"""`durablectl wf watch`: the steps of a workflow as they happen, pushed by JetStream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options import with_connection, with_output
from durablectl.cli.output import Output, OutputFormat, print_json, show, stdout_console
from durablectl.errors import WorkflowCancelledError, WorkflowFailedError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.status import Status
from durablectl.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text

    from durablectl.query import WaitingView, WorkflowView

_FRAME_SECONDS = 0.1
_IDLE_FRAME_SECONDS = 1.0
_EXIT_CODES: Mapping[str, int] = {
    Status.FAILED: WorkflowFailedError.exit_code,
    Status.CANCELLED: WorkflowCancelledError.exit_code,
}


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
async def watch(
    invocation_id: Annotated[str, typer.Argument(metavar="ID")],
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="Exit with 10 if it failed, 11 if it was cancelled.")
    ] = False,
    *,
    settings: Settings,
    output: Output,
) -> int:
    """Follow a workflow live until it has ended.

    Off a terminal, or with --json, every change is one JSON object on a line.
    """
    from durablectl import query
    from durablectl.storage.store import open_store

    status = ""
    async with open_store(settings) as store:
        changes = query.watch_workflow(store, invocation_id)
        if output.decorated and not output.is_json:
            status = await _live(changes)
        else:
            async for view in changes:
                status = view.status
                print_json(view.to_json(), one_line=True)
    return _EXIT_CODES.get(status, 0) if exit_status else 0


async def _live(changes: AsyncIterator[WorkflowView]) -> str:
    """Show every change at once, and the clocks in between; the whole of it at the end, also on Ctrl-C."""
    from rich.live import Live

    from durablectl.cli.render.workflow import watch_end

    console = stdout_console()
    screen = Screen()
    following = asyncio.create_task(screen.follow(changes))
    try:
        while screen.view is None and not following.done():
            await screen.wait(following)
        if screen.view is not None:
            with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
                while not following.done():
                    live.update(screen.frame(SYSTEM_CLOCK.now(), *console.size), refresh=True)
                    await screen.wait(following)
        await following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        if screen.view is not None:
            show(console, watch_end(screen.view, SYSTEM_CLOCK.now(), console.width))
    return screen.view.status if screen.view is not None else ""


class Screen:
    """The newest view, and what the views before it said of the step under way."""

    def __init__(self) -> None:
        self.view: WorkflowView | None = None
        self._failed_before: WaitingView | None = None
        self._changed = asyncio.Event()

    async def follow(self, changes: AsyncIterator[WorkflowView]) -> None:
        async for view in changes:
            self.take(view)

    def take(self, view: WorkflowView) -> None:
        self.view = view
        if view.waiting_for is not None and view.waiting_for.kind == "retry":
            self._failed_before = view.waiting_for
        elif self._failed_before is not None and self._failed_before.step_number != view.current_step:
            self._failed_before = None
        self._changed.set()

    async def wait(self, following: asyncio.Task[None]) -> None:
        """Until there is a change, the end, or a clock to move."""
        moving = self.view is not None and self.view.status == Status.RUNNING
        changed = asyncio.ensure_future(self._changed.wait())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait(
                [changed, following],
                timeout=_FRAME_SECONDS if moving else _IDLE_FRAME_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        changed.cancel()
        self._changed.clear()

    def frame(self, now: int, width: int, height: int) -> Text:
        from durablectl.cli.render.workflow import watch_frame

        if self.view is None:
            raise RuntimeError
        return watch_frame(self.view, now, width, height, self._failed_before)
