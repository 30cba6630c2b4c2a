"""The connection to NATS that all requests share, from before the server is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from durablectl.errors import ConnectionFailedError, PermissionDeniedError, UnsupportedServerError
from durablectl.http.shared_queries import Queries
from durablectl.storage.connection.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Backend:
    """``store`` while the server is there; ConnectionFailedError while it is not."""

    def __init__(self, queries: Queries | None = None) -> None:
        self.queries = queries or Queries()
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
            self._store = await stack.enter_async_context(open_store(settings, name=name))
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
                self._store = await stack.enter_async_context(open_store(settings, name=name))
            except ConnectionFailedError as error:
                _log.debug("%s", error.message)
                continue
            _log.info("Connected to the NATS server.")
            return
