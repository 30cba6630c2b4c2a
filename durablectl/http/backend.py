"""What all requests share: the connection to NATS, from before the server is there, and the queries in flight."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.errors import ConnectionFailedError, PermissionDeniedError, UnsupportedServerError
from durablectl.storage.connection.store import open_store
from durablectl.storage.records.consistent_reads import hear_server_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0

T = TypeVar("T")


class SharedQueries:
    """The queries that read more than one workflow: the same one is asked once, and ``at_once`` of them run.

    One that was answered leaves its place empty for ``rest_ratio`` times as long as it took.

    The work of a query is the NATS server's, which executing workflows need too: only whoever asks can hold back.
    """

    def __init__(self, at_once: int = 8, rest_ratio: float = 0.0) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._rest_ratio = rest_ratio
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, key: Hashable, query: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``query``, or of the same one, by its key, that has not begun yet: no answer is out of date."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = asyncio.create_task(self._run(key, query))
        answer: T = await asyncio.shield(waiting)
        return answer

    async def _run(self, key: Hashable, query: Callable[[], Awaitable[T]]) -> T:
        await self._places.acquire()
        del self._waiting[key]
        loop = asyncio.get_running_loop()
        began = loop.time()
        rest = 0.0  # A server that does not answer is not spared by waiting.
        try:
            answer = await query()
            rest = self._rest_ratio * (loop.time() - began)
            return answer
        finally:
            loop.call_later(rest, self._places.release)


class Backend:
    """``store`` while the server is there; ConnectionFailedError while it is not."""

    def __init__(self, queries: SharedQueries | None = None) -> None:
        self.queries = queries or SharedQueries()
        self._store: Store | None = None

    @property
    def is_connected(self) -> bool:
        return self._store is not None and self._store.is_connected

    @property
    def store(self) -> Store:
        if self._store is None or not self._store.is_connected:
            raise ConnectionFailedError("The NATS server cannot be reached.", hint="Try again a little later.")
        return self._store

    @contextlib.asynccontextmanager
    async def connected(self, settings: Settings, name: str) -> AsyncIterator[None]:
        """Keep connected until the block ends. A server that is not there is waited for, in the background.

        Raises PermissionDeniedError, UnsupportedServerError, ConfigurationError: waiting does not mend those.
        """
        stack = contextlib.AsyncExitStack()
        try:
            self._store = await _opened(stack, settings, name)
        except (PermissionDeniedError, UnsupportedServerError):
            raise
        except ConnectionFailedError as error:
            _log.warning("%s Trying again until one does.", error.message)
        connecting = None if self._store else asyncio.create_task(self._connect(stack, settings, name))
        try:
            yield
        finally:
            if connecting is not None:
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
            self._store = None
            await stack.aclose()

    async def _connect(self, stack: contextlib.AsyncExitStack, settings: Settings, name: str) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                self._store = await _opened(stack, settings, name)
            except ConnectionFailedError as error:
                _log.debug("%s", error.message)
                continue
            _log.info("Connected to the NATS server.")
            return


async def _opened(stack: contextlib.AsyncExitStack, settings: Settings, name: str) -> Store:
    """Connected, and knowing the server's clock, by which requests count from now."""
    store = await stack.enter_async_context(open_store(settings, name=name))
    await hear_server_time(store)
    return store
