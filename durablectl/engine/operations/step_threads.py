"""Sync step functions run in threads of their own.

They are daemons: a function that never returns must not keep the process from ending, as a pool's threads would.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


async def run_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """The function's result or exception; cancelled, the thread goes on and its result is dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((result, error))

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args)
        except StopIteration:
            error = RuntimeError("a step function raised StopIteration")
        except BaseException as raised:  # noqa: BLE001 - handed over to the caller, whatever it is
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=work, name=f"step {getattr(function, '__name__', '')}", daemon=True).start()
    # As a value: an exception that is thrown in, as GeneratorExit, would close the coroutines that await.
    result, error = await future
    if error is not None:
        raise error
    return result
