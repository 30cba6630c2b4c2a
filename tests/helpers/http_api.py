"""The HTTP API on a free port, and a small client that asks over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from durablectl.http.asgi import create_app
from durablectl.http.backend import Backend
from durablectl.http.server import serving
from durablectl.http.server_options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from email.message import Message

    from durablectl.settings import Settings

_SECONDS = 60
_THREADS = ThreadPoolExecutor(64, "http")


@dataclass(frozen=True)
class Answer:
    """``headers`` are found whatever their case."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Of an answer that is one."""
        assert set(self.json) == {"error"}, self.body
        return self.json["error"]


class Http:
    """Asks one server; ``headers`` go with each request. A connection of its own for each."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.headers = dict(headers or {})
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)

    def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """In a thread of the caller's. ``body`` is sent as JSON, or as it is if it is bytes."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, target, data, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    async def __call__(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_THREADS, self.ask, method, target, body, headers)

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self("GET", target, None, headers)

    async def post(self, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return await self("POST", target, body, headers)


@contextlib.asynccontextmanager
async def http_api(settings: Settings, **options: Any) -> AsyncIterator[Http]:
    """Served in this process; ``options`` are those of HttpOptions. A token is sent along."""
    backend, chosen = Backend(), HttpOptions(**{"port": 0, **options})
    headers = {"Authorization": f"Bearer {chosen.token}"} if chosen.token else {}
    async with backend.connected(settings, "test"), serving(create_app(backend, chosen, "test"), chosen) as url:
        yield Http(url, headers)
