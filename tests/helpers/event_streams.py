"""A small reader of Server-Sent Events over a real socket, and what the tests of them write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from helpers.http_api import Http

_SECONDS = 60


class Event(NamedTuple):
    name: str
    id: int | None
    data: Any


class Stream:
    """Events one by one; ``last_id`` is that of the last one read, heartbeats included, as a browser keeps it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id: int | None = None
        self.heartbeats = 0
        self.retry = 0
        self._reader = reader
        self._text = ""

    async def begin(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.splitlines()
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}

    async def next(self, seconds: float = _SECONDS) -> Event | None:
        """None when the stream has ended."""
        async with asyncio.timeout(seconds):
            while (block := await self._block()) is not None:
                event = self._event(block)
                if event is not None:
                    return event
        return None

    async def many(self, count: int) -> list[Event]:
        events: list[Event] = []
        for _ in range(count):
            event = await self.next()
            assert event is not None, events
            events.append(event)
        return events

    async def rest(self) -> list[Event]:
        """Up to the end."""
        events: list[Event] = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events

    async def _block(self) -> str | None:
        while "\n\n" not in self._text:
            size = int(await self._reader.readline(), 16)
            self._text += (await self._reader.readexactly(size)).decode()
            await self._reader.readexactly(2)
            if not size:
                return None
        block, _, self._text = self._text.partition("\n\n")
        return block

    def _event(self, block: str) -> Event | None:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "" in fields or block.startswith(": heartbeat"):
            self.heartbeats += 1
        self.retry = int(fields.get("retry", self.retry))
        number = int(fields["id"]) if "id" in fields else None
        self.last_id = self.last_id if number is None else number
        return Event(fields["event"], number, json.loads(fields["data"])) if "event" in fields else None


@contextlib.asynccontextmanager
async def streaming(
    http: Http, target: str, headers: Mapping[str, str] | None = None, *, receive_buffer: int = 0
) -> AsyncIterator[Stream]:
    """Open until the block ends; the client goes away then."""
    connection = socket.create_connection((http.host, http.port))
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**16 if receive_buffer else 2**22)
    lines = [f"GET {target} HTTP/1.1", f"Host: {http.host}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    stream = Stream(reader)
    try:
        await stream.begin()
        yield stream
    finally:
        writer.transport.abort()


def resuming(last_id: int | None) -> dict[str, str]:
    return {} if last_id is None else {"Last-Event-ID": str(last_id)}
