"""Links between the servers of a cluster that a test can cut: all goes through a proxy in this process.

A link that is cut is silent, as a broken network is: nothing is passed on and nothing is refused. What was under way
arrives when it is healed, late.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from types import TracebackType


class _End(asyncio.Protocol):
    """One side of a connection; what comes in goes out at the other."""

    def __init__(self, link: Link, other: _End | None = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self._link.opened(self)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        assert self.other.transport is not None
        self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._link.closed(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Link:
    """What connects to ``port`` is passed on to ``target``, both ports of 127.0.0.1."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._target = target
        self._is_cut = False
        self._ends: set[_End] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.sever()

    def cut(self) -> None:
        self._is_cut = True
        for end in self._ends:
            if end.transport is not None:
                end.transport.pause_reading()

    def sever(self) -> None:
        """Break what is connected: what was under way is lost."""
        for end in list(self._ends):
            if end.transport is not None:
                end.transport.abort()

    def heal(self) -> None:
        self._is_cut = False
        for end in list(self._ends):
            self._go_on(end)

    def opened(self, end: _End) -> None:
        self._ends.add(end)
        if not self._is_cut:
            self._go_on(end)

    def closed(self, end: _End) -> None:
        self._ends.discard(end)

    def _go_on(self, end: _End) -> None:
        if end.other is None:
            end.other = _End(self, end)
            task = asyncio.get_running_loop().create_task(self._connect(end, end.other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif end.transport is not None and end.other.transport is not None:
            end.transport.resume_reading()
            end.other.transport.resume_reading()

    async def _connect(self, end: _End, other: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, "127.0.0.1", self._target)
        except OSError:
            if end.transport is not None:
                end.transport.abort()
