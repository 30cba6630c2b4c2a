"""The event loop that a handler runs on: deterministic, without I/O, driven by the engine.

It has tasks, futures, callbacks and timers, and nothing else. Its time is the workflow's. A timer is handed to the
engine, which makes it durable. Everything that touches the outside world is refused with an error that names the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from asyncio import events
from collections import deque
from inspect import CORO_SUSPENDED, getcoroutinestate
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from durablectl.engine.replay.control_flow import do_nothing
from durablectl.errors import UsageError
from durablectl.limits import checked_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from contextvars import Context
    from types import CodeType

_get_running_loop, _set_running_loop = events._get_running_loop, events._set_running_loop  # noqa: SLF001
_get_hooks, _set_hooks = sys.get_asyncgen_hooks, sys.set_asyncgen_hooks

HANDLES_PER_TURN = 1000
"""Callbacks that run before other workflows get a turn."""

MAX_IDLE_HANDLES = 1_000_000
"""Callbacks without a step, timer or signal between them after which a handler counts as spinning."""

_FORGOTTEN_AT = 64
_TIMER = "The time of an asyncio timer in a handler"
_CLOSES = 100
_IGNORED_EXIT = "coroutine ignored GeneratorExit"


class HandlerFuture(asyncio.Future[Any]):
    """A future of a handler's loop."""

    def __init__(self, loop: HandlerLoop) -> None:
        self._hash = loop.next_hash()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class HandlerTask(asyncio.Task[Any]):
    """A task of a handler's loop."""

    def __init__(
        self, coroutine: Any, loop: HandlerLoop, name: str | None, context: Context | None, options: dict[str, Any]
    ) -> None:
        self._hash = loop.next_hash()
        super().__init__(coroutine, loop=loop, name=name or f"task-{self._hash}", context=context, **options)

    def __hash__(self) -> int:
        return self._hash


class HandlerLoop(asyncio.AbstractEventLoop):
    """An event loop for one run of one handler.

    Args:
        set_timer: Makes a timer durable. Takes the handle, whose ``when()`` is in seconds of ``time()``.
        timer_cancelled: Called when a timer handle is cancelled.
        on_error: Takes what asyncio reports of callbacks and unread exceptions: a message and the exception, if any.
    """

    def __init__(
        self,
        set_timer: Callable[[asyncio.TimerHandle], None],
        timer_cancelled: Callable[[asyncio.TimerHandle], None],
        on_error: Callable[[str, BaseException | None], None],
    ) -> None:
        self.seconds = 0.0
        """The workflow's time, in seconds since its start."""
        self.is_abandoned = False
        self._is_stopped = False
        self._ready: deque[events.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = _FORGOTTEN_AT
        self._set_timer = set_timer
        self._timer_cancelled = timer_cancelled
        self._on_error = on_error
        self._idle_handles = 0
        self._hashes = 0

    # What asyncio asks of a loop that runs tasks.

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def time(self) -> float:
        """Seconds since the workflow's start, as of the end that was delivered last."""
        return self.seconds

    def create_future(self) -> asyncio.Future[Any]:
        return HandlerFuture(self)

    def next_hash(self) -> int:
        """Number the tasks and futures of this loop: a set of them is iterated in the same order on every replay."""
        self._hashes += 1
        return self._hashes

    def create_task(  # type: ignore[override]  # any awaitable, so that a TaskGroup takes ctx.step(...)
        self,
        coro: Awaitable[Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        task_class: type[HandlerTask] = HandlerTask,
        **options: Any,
    ) -> asyncio.Task[Any]:
        if sys._getframe(1).f_code is _ENSURE_FUTURE:  # noqa: SLF001 - there is no other way to the caller
            _check_order(sys._getframe(2))  # noqa: SLF001
        coroutine: Any = coro if asyncio.iscoroutine(coro) else _awaited(coro)
        task = task_class(coroutine, self, name, context, options)
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._prune_at = max(_FORGOTTEN_AT, 2 * len(self._tasks))
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        later = max(delay, 0)  # asyncio's meaning of a time that has passed; NaN stays NaN
        if later > 0:
            later = checked_seconds(later, _TIMER)
        return self.call_at(self.seconds + later, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if not when <= self.seconds:
            checked_seconds(self._left(when), _TIMER)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if when <= self.seconds:
            self._ready.append(handle)
        elif not self._is_stopped:
            self._set_timer(handle)
        return handle

    def _left(self, when: float) -> float:
        try:
            return when - self.seconds
        except OverflowError:
            return math.inf

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not self._is_stopped:
            self._timer_cancelled(handle)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_abandoned:
            self._on_error(str(context.get("message", "")), context.get("exception"))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def get_exception_handler(self) -> None:
        return None

    def get_task_factory(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: generators are closed with the run."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""

    # What the engine does with it.

    @property
    def is_idle(self) -> bool:
        """Whether every task waits for something that the engine delivers."""
        return not self._ready

    @property
    def is_spinning(self) -> bool:
        """Whether callbacks follow one another without end."""
        return self._idle_handles >= MAX_IDLE_HANDLES

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """Run a timer's callback in the next ``drive``, unless it was cancelled."""
        self._ready.append(handle)

    def delivered(self) -> None:
        """Note that something from outside has come in."""
        self._idle_handles = 0

    def halt(self) -> None:
        """Run no further callback. What runs now goes to its next ``await``, and no further."""
        self._is_stopped = True

    def drive(self) -> bool:
        """Run what is ready, HANDLES_PER_TURN callbacks at most; True when nothing is ready any more.

        Call it from a plain callback of the real loop, not from inside a task: Python 3.14 has one current task per
        thread.
        """
        ready = self._ready
        left = HANDLES_PER_TURN
        before, hooks = _get_running_loop(), _get_hooks()
        _set_running_loop(self)
        _set_hooks(None, self._finalize)
        try:
            while ready and left and not self._is_stopped:
                left -= 1
                handle = ready.popleft()
                if handle._cancelled:  # noqa: SLF001 - what handle.cancelled() returns
                    continue
                try:
                    handle._run()  # noqa: SLF001 - as every loop does
                except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of the app's code
                    # A task has it as its exception already; of a callback nothing else would tell.
                    if not isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):  # type: ignore[attr-defined]  # noqa: SLF001
                        self._on_error("Exception in a callback", error)
        finally:
            _set_hooks(*hooks)
            _set_running_loop(before)
        self._idle_handles += HANDLES_PER_TURN - left
        return not ready or self._is_stopped

    def abandon(self, *, report: bool = False) -> None:
        """Discard all tasks. Their frames are closed; what they do meanwhile has no effect.

        With ``report``, exceptions of tasks that no other task has read are reported.
        """
        if self.is_abandoned:
            return
        is_any_left = False
        for task in self._tasks:
            if not task.done():
                is_any_left = True
            elif task._log_traceback and not task.cancelled():  # noqa: SLF001 - whether anything has read it
                error = task.exception()
                if report and task is not self._tasks[0]:
                    self._on_error(f"the exception of {task.get_name()} was never read", error)
        self.is_abandoned = self._is_stopped = True
        self._ready.clear()
        if is_any_left:
            self._close_tasks()
        self._tasks.clear()
        # So that no cycle keeps the run until the garbage collector comes.
        self._set_timer = self._timer_cancelled = self._on_error = do_nothing

    def _close_tasks(self) -> None:
        before, hooks = _get_running_loop(), _get_hooks()
        _set_running_loop(self)
        _set_hooks(None, self._finalize)
        try:
            while self._tasks:
                task = self._tasks.pop()
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
                    _close(task.get_coro())
        finally:
            _set_hooks(*hooks)
            _set_running_loop(before)
        self._ready.clear()

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self.is_abandoned:
            self.create_task(generator.aclose())


_as_completed = asyncio.as_completed
_ENSURE_FUTURE = getattr(asyncio.tasks, "_ensure_future", asyncio.ensure_future).__code__


def as_completed(fs: Any, *, timeout: float | None = None) -> Any:
    """Stand in for asyncio.as_completed, which makes its tasks in the order of a set: another one on every run."""
    if isinstance(_get_running_loop(), HandlerLoop):
        fs = [asyncio.ensure_future(each) for each in dict.fromkeys(fs)]
    return _as_completed(fs, timeout=timeout)


asyncio.as_completed = asyncio.tasks.as_completed = as_completed


def _check_order(frame: Any) -> None:
    """Refuse the original as_completed, which an app may have imported by name before this module."""
    for _ in range(4):
        if frame is None:
            return
        if frame.f_code is _as_completed.__code__:
            raise UsageError(
                "asyncio.as_completed makes tasks of coroutines in another order on every run.",
                hint="Give it tasks: [asyncio.create_task(c) for c in ...], or call it as asyncio.as_completed.",
            )
        frame = frame.f_back


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _close(coroutine: Coroutine[Any, Any, Any] | Any) -> None:
    """Close a coroutine, whatever its code does about that."""
    chain = []
    inner = coroutine
    while isinstance(inner, CoroutineType):
        chain.append(inner)
        inner = inner.cr_await
    left: list[Any] = [coroutine]
    for _ in range(_CLOSES):
        # Code that awaits on its way out is not closed at once, and those that await it end without it. Left to the
        # garbage collector, it would run on in the processor's own event loop.
        with contextlib.suppress(BaseException):
            left[0].close()
        left = [each for each in chain if getcoroutinestate(each) == CORO_SUSPENDED]
        if not left:
            return
    # What catches everything is not closed. The garbage collector will try again, and report that.
    _unclosable.update(each.cr_code for each in left)
    if _unclosable and sys.unraisablehook is not _report:
        _hooks[:] = [sys.unraisablehook]
        sys.unraisablehook = _report


_unclosable: set[CodeType] = set()
_hooks: list[Callable[[Any], object]] = []


def _report(unraisable: Any) -> None:
    """Be silent about coroutines that are known to catch GeneratorExit."""
    error, source = unraisable.exc_value, unraisable.object
    is_known = isinstance(source, CoroutineType) and source.cr_code in _unclosable
    if not (is_known and isinstance(error, RuntimeError) and str(error) == _IGNORED_EXIT):
        _hooks[0](unraisable)


def _refuse(name: str) -> NoReturn:
    raise UsageError(
        f"A workflow's handler cannot use {_CALLS.get(name, f'loop.{name}')}: its result would differ on a replay.",
        hint="Put it into a step: await ctx.step(function, ...).",
    )


_CALLS = {
    "run_in_executor": "threads (loop.run_in_executor, asyncio.to_thread)",
    "getaddrinfo": "DNS (loop.getaddrinfo)",
    "getnameinfo": "DNS (loop.getnameinfo)",
    "create_connection": "connections (loop.create_connection, asyncio.open_connection)",
    "create_unix_connection": "connections (loop.create_unix_connection)",
    "create_server": "servers (loop.create_server, asyncio.start_server)",
    "subprocess_exec": "subprocesses (loop.subprocess_exec, asyncio.create_subprocess_exec)",
    "subprocess_shell": "subprocesses (loop.subprocess_shell, asyncio.create_subprocess_shell)",
    "call_soon_threadsafe": "other threads (loop.call_soon_threadsafe)",
}


def _refusal(name: str, *, is_coroutine: bool) -> Callable[..., Any]:
    if is_coroutine:

        async def refuse_awaited(*_: Any, **__: Any) -> NoReturn:
            _refuse(name)

        return refuse_awaited

    def refuse(*_: Any, **__: Any) -> NoReturn:
        _refuse(name)

    return refuse


def _refuse_all_else() -> None:
    """Refuse every method of an event loop that HandlerLoop does not define."""
    for name, method in vars(asyncio.AbstractEventLoop).items():
        if callable(method) and not name.startswith("__") and name not in vars(HandlerLoop):
            setattr(HandlerLoop, name, _refusal(name, is_coroutine=asyncio.iscoroutinefunction(method)))


_refuse_all_else()
