"""The one place where errors become a message and an exit code, for the console script and for tests alike."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, ParamSpec, TypeVar, overload

import typer

from durablectl.cli.lazy import LazyGroup
from durablectl.cli.render.formatting import duration
from durablectl.cli.render.symbols import ERROR_HANDLER
from durablectl.cli.terminal.output import (
    Verbosity,
    is_coloured,
    is_decorated,
    report,
    stderr_is_json,
    verbosity,
    wants_json,
    warn,
)
from durablectl.errors import DurableError, UsageError
from durablectl.model.clock import SYSTEM_CLOCK

_STUCK_SECONDS = 1.0
"""How long a cancelled task, or a thread of the app, may keep the process from ending."""

P = ParamSpec("P")
T = TypeVar("T")

INTERRUPTED = 130
CLOSED_PIPE = 128 + 13  # what a shell reports of a program that died of SIGPIPE
TERMINATED = 128 + 15
INTERNAL = 1

_PARSING: type[BaseException] = typer.BadParameter.__mro__[2]
"""What Typer raises for a command line that does not parse; it has a public name only since Typer 0.28."""


class BoundaryGroup(LazyGroup):
    """The root of the command tree: ``typer.Typer(cls=BoundaryGroup)``.

    A command's returned int becomes the exit code. Every error, of parsing too, goes through ``exit_code``. Off a
    terminal the help is plain text.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        run = functools.partial(
            super().main,
            args,
            prog_name,
            complete_var,
            standalone_mode=False,
            windows_expand_args=windows_expand_args,
            **extra,
        )
        if not standalone_mode:
            return run()
        _prepare_streams()
        threads = threading.enumerate()
        if not (is_decorated(sys.stdout) or is_coloured(sys.stdout)):
            self.rich_markup_mode = None
        json = stderr_is_json.set(wants_json(sys.argv[1:] if args is None else args))
        normal = verbosity.set(Verbosity.NORMAL)  # a command's -q or -v changes it
        try:
            result = run()
            sys.stdout.flush()
            code = result if isinstance(result, int) else 0
        except Exception as error:  # noqa: BLE001  # the last one there is
            code = exit_code(error)
        finally:
            stderr_is_json.reset(json)
            verbosity.reset(normal)
        if _is_any_stuck(_started_since(threads)):
            _exit_at_once(code)
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        # Here, because main() of Typer turns the first two into exit codes of its own, and the others are no Exception.
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError, BaseExceptionGroup, asyncio.CancelledError) as error:
            raise typer.Exit(exit_code(error)) from None


def exit_code(error: BaseException) -> int:
    """Tell the user what happened, and return the code to exit with."""
    error = _first_cause(error)
    if _wants_traceback(error):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, _PARSING):
        return _usage(error)
    match error:
        case DurableError():
            report(error.code, error.message, error.hint)
            return error.exit_code
        case KeyboardInterrupt() | typer.Abort():
            return _interrupted()
        case BrokenPipeError() if _reader_is_gone(sys.stdout) or _reader_is_gone(sys.stderr):
            return CLOSED_PIPE
        case OSError(strerror=str(reason)) if not isinstance(error, ConnectionError):
            report("os_error", f"{reason}: {error.filename}." if error.filename else f"{reason}.")
            return INTERNAL
        case _:
            text = str(error).strip()
            report(
                "internal",
                f"Unexpected {type(error).__name__}{f': {text}' if text else ''}",
                "This is a bug in durablectl. Run it again with DURABLECTL_DEBUG=1 for the traceback.",
            )
            return INTERNAL


def _started_since(before: Sequence[threading.Thread]) -> list[threading.Thread]:
    """The threads that Python waits for at its end, and that were started since then."""
    return [each for each in threading.enumerate() if not each.daemon and each not in before]


def _is_any_stuck(threads: Sequence[threading.Thread]) -> bool:
    """Wait for these, but not without end: a step may have given a thread of asyncio.to_thread an hour's work."""
    until = time.monotonic() + _STUCK_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


def _exit_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads. What the command had to do is done."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _wants_traceback(error: BaseException) -> bool:
    """With DURABLECTL_DEBUG of every error but those in the command line, with -v of those that are bugs."""
    if os.environ.get("DURABLECTL_DEBUG"):
        return not isinstance(error, _PARSING)
    known = (DurableError, KeyboardInterrupt, typer.Abort, OSError, _PARSING)
    return verbosity.get() == Verbosity.VERBOSE and not isinstance(error, known)


def _first_cause(error: BaseException) -> BaseException:
    """Of a group, the error that says most to a user."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first_cause(inner) for inner in error.exceptions]
    for kind in (KeyboardInterrupt, DurableError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and not stderr_is_json.get():
        sys.stderr.write(f"{error.message}\n" if error.message else "")  # empty where rich has printed the help
    else:
        message = "Missing command." if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()
        report(UsageError.code, message, f"Try '{context.command_path} --help'." if context else "")
    return int(error.exit_code)


def _interrupted() -> int:
    if stderr_is_json.get():
        report("interrupted", "Interrupted.")
    elif sys.stderr.isatty():
        sys.stderr.write("\n")  # the shell's prompt would follow the ^C
    return INTERRUPTED


def _reader_is_gone(stream: IO[str]) -> bool:
    """Tells a closed pipe of ours from a broken connection; what is still to be written then goes nowhere."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return False
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(descriptor, 0)
        if not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            return False
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
    return True


def _prepare_streams() -> None:
    # Python starts with None where the shell has closed the stream.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for good
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for good
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ERROR_HANDLER)


@overload
def asynchronous(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]: ...


@overload
def asynchronous(*, fast: bool) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, T]]: ...


def asynchronous(function: Callable[P, Coroutine[Any, Any, T]] | None = None, *, fast: bool = False) -> Any:
    """Make a command of a coroutine function; the outermost decorator below ``@app.command()``. See run_async."""
    if function is None:
        return functools.partial(asynchronous, fast=fast)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return run_async(function(*args, **kwargs), fast=fast)
        finally:
            if not fast:  # what runs for long logs it
                _warn_of_clock()

    return wrapper


def _warn_of_clock() -> None:
    """Say that this machine's clock is wrong, once the command is done: what it has shown goes by the server's."""
    if SYSTEM_CLOCK.is_wrong:
        error = SYSTEM_CLOCK.error
        compared = "ahead of" if error > 0 else "behind"
        warn(
            f"The clock of this machine is {duration(abs(error))} {compared} that of the NATS server. Ages, and "
            "what is counted from now (--since 1h, --delay 5m), are by the server's."
        )


def run_async(coroutine: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run to the end. SIGINT and SIGTERM cancel the coroutine, so that it can clean up; a second one ends it at once.

    ``fast`` takes uvloop where it is installed, which is worth its import only where much is sent. A coroutine that
    sets its own signal handlers on the loop replaces these. After SIGTERM the exit code is 143.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if fast:
        with contextlib.suppress(ImportError):
            from uvloop import new_event_loop as factory
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_until_terminated(coroutine))


async def _until_terminated(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    threads = threading.enumerate()
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        loop.remove_signal_handler(signal.SIGTERM)
        if task is not None:
            task.cancel()

    # Not on Windows, and not outside the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if terminated:
            raise typer.Exit(TERMINATED) from None
        raise
    finally:
        await _cancel_rest()
        _leave_executor(loop, threads)


def _leave_executor(loop: asyncio.AbstractEventLoop, before: Sequence[threading.Thread]) -> None:
    """Let the runner wait for no thread of the loop's executor: it would do so without a limit."""
    if _started_since(before):
        from concurrent.futures import ThreadPoolExecutor

        loop.set_default_executor(ThreadPoolExecutor(1))


async def _cancel_rest() -> None:
    """Cancel the tasks that are left, and wait for them, but not without end: a step may swallow its cancellation.

    The runner waits for every task that it finds. It finds none of those that do not end.
    """
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if not rest:
        return
    from durablectl.cli.stop_signals import LIMIT_SECONDS, TimeLimit

    with TimeLimit(LIMIT_SECONDS).start():
        _, stuck = await asyncio.wait(rest, timeout=_STUCK_SECONDS)
    for task in stuck:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is known
        asyncio.tasks._unregister_task(task)  # noqa: SLF001 - there is no other way
