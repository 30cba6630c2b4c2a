"""What `wf watch` shows on a terminal: drawn after every change and while clocks move, kept in the scrollback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from durablectl.cli.terminal.follow import log_warnings
from durablectl.cli.terminal.output import is_decorated, show, stdout_console, warn
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from rich.console import Console
    from rich.text import Text

    from durablectl.query import Board, JobView, StatusReport, Tree, WaitingView

T = TypeVar("T")

_MOVING_SECONDS = 0.1
_STILL_SECONDS = 1.0


class _Painter:
    """Shows frames. What was on the terminal before is there again after the end; use it in ``_screen``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._size = (0, 0)

    def paint(self, frame: Text) -> None:
        """Of a frame that is taller than the terminal the upper part."""
        size = tuple(self._console.size)
        out = []
        if size != self._size:
            self._size, self._shown = (size[0], size[1]), []
            out.append("\x1b[2J")
        lines = [self._coded(line) for line in frame.split("\n")[: size[1]]]
        before = [*self._shown, *[""] * (len(lines) - len(self._shown))]
        for row, (line, old) in enumerate(zip([*lines, *[""] * (len(before) - len(lines))], before, strict=True), 1):
            if line != old:
                out.append(f"\x1b[{row};1H\x1b[2K{line}")
        self._shown = lines
        if out:
            self._console.file.write("".join(out))
            self._console.file.flush()

    def _coded(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="crop", crop=True)
        return captured.get()


@contextlib.contextmanager
def _screen(console: Console, resized: Callable[[], None]) -> Iterator[_Painter]:
    """``resized`` is called when the terminal has got another size."""
    loop = asyncio.get_running_loop()
    with console.screen():
        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGWINCH, resized)
        try:
            yield _Painter(console)
        finally:
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGWINCH)


class Screen(ABC, Generic[T]):
    """The newest state of what is watched."""

    def __init__(self) -> None:
        self.state: T | None = None
        self._changed = asyncio.Event()
        self._is_up = False
        self._told: list[str] = []

    @abstractmethod
    def draw(self, state: T, now: int, width: int, height: int) -> Text:
        """At most ``height`` lines."""

    @abstractmethod
    def end(self, state: T, now: int, width: int, height: int) -> Text:
        """What stays in the scrollback, on a terminal of ``height`` lines."""

    @abstractmethod
    def is_moving(self, state: T) -> bool:
        """Whether something on it moves by itself, faster than once a second."""

    async def show(self, changes: AsyncIterator[T]) -> T | None:
        """Until the changes end, or Ctrl-C; the last of them."""
        console = stdout_console()
        following = asyncio.create_task(self._follow(changes))
        try:
            with log_warnings(self._show_message):
                while self.state is None and not following.done():
                    await self.wait(following)
                if not following.done():
                    with _screen(console, self._changed.set) as painter:
                        self._is_up = True
                        while not following.done():
                            painter.paint(self.frame(SYSTEM_CLOCK.now(), *console.size))
                            await self.wait(following)
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            for message in self._told:
                warn(message)
            if self.state is not None:
                show(console, self.end(self.state, SYSTEM_CLOCK.now(), *console.size))
        return self.state

    async def _follow(self, changes: AsyncIterator[T]) -> None:
        async for state in changes:
            self.take(state)

    def take(self, state: T) -> None:
        self.state = state
        self._changed.set()

    async def wait(self, following: asyncio.Task[None]) -> None:
        """Until there is a change, the end, or a clock to move."""
        is_moving = self.state is not None and self.is_moving(self.state)
        changed = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait(
            [changed, following],
            timeout=_MOVING_SECONDS if is_moving else _STILL_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        changed.cancel()
        self._changed.clear()

    def frame(self, now: int, width: int, height: int) -> Text:
        """Warnings stand at its end: on the terminal itself they would be painted over."""
        from rich.text import Text

        if self.state is None:
            raise RuntimeError
        if not self._told:
            return self.draw(self.state, now, width, height)
        drawn = self.draw(self.state, now, width, height - 1)
        return Text.assemble(drawn, "\n", (self._told[-1], "yellow"))

    def _show_message(self, message: str) -> None:
        if self._is_up and is_decorated(sys.stderr):
            self._told.append(message)
            self._changed.set()
        else:
            warn(message)


class TreeScreen(Screen["Tree"]):
    """A workflow, and what the views before the newest said of the step under way."""

    def __init__(self) -> None:
        super().__init__()
        self._failed_before: WaitingView | None = None

    def take(self, state: Tree) -> None:
        view = state.view
        if view.waiting_for is not None and view.waiting_for.kind == WaitKind.RETRY:
            self._failed_before = view.waiting_for
        elif self._failed_before is not None and self._failed_before.step_number != view.current_step:
            self._failed_before = None
        super().take(state)

    def draw(self, state: Tree, now: int, width: int, height: int) -> Text:
        from durablectl.cli.render.watch import watch_frame

        return watch_frame(state.view, now, width, height, self._failed_before, state.children, expanded=state.expanded)

    def end(self, state: Tree, now: int, width: int, height: int) -> Text:  # noqa: ARG002  # all of it
        from durablectl.cli.render.watch import watch_end

        return watch_end(state.view, now, width, state.children, expanded=state.expanded)

    def is_moving(self, state: Tree) -> bool:
        return any(
            view is not None and view.status == Status.RUNNING for view in (state.view, *state.children.values())
        )


class BoardScreen(Screen["Board"]):
    """The newest workflows and the counts by status."""

    def draw(self, state: Board, now: int, width: int, height: int) -> Text:
        from durablectl.cli.render.watch import board_frame

        return board_frame(state, now, width, height)

    def end(self, state: Board, now: int, width: int, height: int) -> Text:
        return self.draw(state, now, width, height - 1)  # and the prompt

    def is_moving(self, state: Board) -> bool:  # noqa: ARG002  # the clocks of many need no tenths
        return False


class StatusScreen(Screen["StatusReport"]):
    """What is in trouble, and what moves."""

    def __init__(self, connection: Sequence[str] = ()) -> None:
        super().__init__()
        self._connection = connection

    def draw(self, state: StatusReport, now: int, width: int, height: int) -> Text:  # noqa: ARG002  # of its own time
        from rich.text import Text

        from durablectl.cli.render.status import status_page

        lines = status_page(state, width, self._connection).split("\n")
        return Text("\n").join(lines[:height])

    def end(self, state: StatusReport, now: int, width: int, height: int) -> Text:  # noqa: ARG002  # all of it
        from durablectl.cli.render.status import status_page

        return status_page(state, width, self._connection)

    def is_moving(self, state: StatusReport) -> bool:  # noqa: ARG002  # its ages change every 2 s
        return False


class JobScreen(Screen["JobView"]):
    """A bulk job and how far it is."""

    def draw(self, state: JobView, now: int, width: int, height: int) -> Text:  # noqa: ARG002  # a few lines
        from durablectl.cli.render.jobs import job_frame

        return job_frame(state, now, width)

    def end(self, state: JobView, now: int, width: int, height: int) -> Text:
        return self.draw(state, now, width, height)

    def is_moving(self, state: JobView) -> bool:  # noqa: ARG002  # what moves comes as changes
        return False
