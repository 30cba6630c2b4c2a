"""HTTP/1.1 as uvicorn speaks it, with a limit on how long a client may take to say what it wants."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Protocol(H11Protocol):
    """Hangs up on a client whose headers do not come, or which goes on sending what nobody reads any more."""

    headers_seconds = 10.0
    """From the connection, or the first byte of its next request, to the end of the headers."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()

    def send_400_response(self, msg: str) -> None:
        """Also while an answer is on its way, where uvicorn's own would fail."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _watch(self) -> None:
        is_served = bool(self.cycle) and not self.cycle.response_complete
        if is_served or self.transport.is_closing():
            self._unwatch()
        elif self._limit is None:
            self._limit = self.loop.call_later(self.headers_seconds, self.transport.close)

    def _unwatch(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
