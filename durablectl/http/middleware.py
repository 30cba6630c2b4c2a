"""What every request passes: who may come in, how much may be sent, how long it may take, and what is logged of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from durablectl.errors import DurableError
from durablectl.http.responses import HttpError, error_response, internal_error
from durablectl.model.audit import ACTOR, HTTP, Actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from durablectl.http.server_options import HttpOptions

_log = logging.getLogger("durablectl.http")

OPEN_PATHS = frozenset({"/health"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_STREAMS = "/events"
_CHALLENGES = ("Bearer", 'Basic realm="durablectl"')
"""A header each: browsers do not find the second of two in one."""

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class RequestMiddleware:
    """ASGI middleware around everything else. ``on_served`` gets route, method, status and seconds of each request."""

    def __init__(
        self, app: ASGIApp, options: HttpOptions, on_served: Callable[[str, str, int, float], None] | None = None
    ) -> None:
        self._app = app
        self._options = options
        self._on_served = on_served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ACTOR.set(_actor(scope))
        began = time.perf_counter()
        method, status = scope["method"], 0
        if method == "HEAD" and not scope["path"].endswith(_STREAMS):
            scope = {**scope, "method": "GET"}  # uvicorn, which has the other scope, leaves out the body

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_SECURITY_HEADERS]}
            await send(message)

        try:
            failure = await self._respond(scope, receive, observe)
            if failure is not None and not status:
                await failure(scope, receive, observe)
        finally:
            self._log_request(scope, method, status, time.perf_counter() - began)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """The answer, if nothing has been answered."""
        seconds = None if scope["path"].endswith(_STREAMS) else self._options.request_seconds
        limited = _LimitedReceive(receive, self._options.body_bytes)
        try:
            self._admit(scope)
            async with asyncio.timeout(seconds):
                await self._app(scope, limited, send)
        except TimeoutError:
            if limited.is_waiting:
                return error_response(HttpError(408, "timed_out", f"The body did not come within {seconds:g} s."))
            return error_response(HttpError(503, "timed_out", f"The answer took longer than {seconds:g} s."))
        except DurableError as error:
            answer = error_response(error)
            if _is_unauthorised(error):
                for challenge in _CHALLENGES:
                    answer.headers.append("WWW-Authenticate", challenge)
            return answer
        except Exception:  # noqa: BLE001  # the last one there is, and logged
            _log.exception("A request failed: %s %s", scope["method"], scope["path"])
            return error_response(internal_error())
        return None

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._options.token and scope["path"] not in OPEN_PATHS and not _has_token(headers, self._options.token):
            raise HttpError(
                401,
                "unauthorised",
                "This API needs its token.",
                hint="Send it as `Authorization: Bearer TOKEN`; browsers ask for it as the password.",
            )
        if b"%2f" in scope.get("raw_path", b"").lower():
            raise HttpError(404, "not_found", "There is nothing there: no name holds a slash.")
        if scope["method"] in _SAFE_METHODS:
            return
        if self._options.read_only:
            raise HttpError(403, "read_only", "This API only reads.", hint="Use the one of a processor, or the CLI.")
        if not self._is_same_origin(headers):
            raise HttpError(403, "foreign_origin", "Pages of other origins may change nothing here.")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._options.body_bytes:
            raise _too_large(self._options.body_bytes)

    def _is_same_origin(self, headers: Headers) -> bool:
        """Whether no page of somebody else's has made a browser send this."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
        allowed = self._options.cors_origins
        return urlsplit(origin).netloc == headers.get("host") or origin in allowed or "*" in allowed

    def _log_request(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "-"
        if self._on_served is not None:
            self._on_served(route, method, status, seconds)
        client = scope.get("client")
        fields = {"status": status, "ms": round(seconds * 1000, 1), "client": client[0] if client else "-"}
        _log.info("%s %s", method, scope["path"], extra=fields)


def _actor(scope: Scope) -> Actor:
    """Who sends the request: the user of its Basic credentials, by the address that it comes from."""
    kind, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
    user = ""
    if kind.lower() == "basic":
        with contextlib.suppress(ValueError):  # no base64, no UTF-8, or no ASCII
            user = base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    client = scope.get("client")
    return Actor(user or "http", HTTP, client[0] if client else "")


class _LimitedReceive:
    """``receive`` of a body that may not be longer than it was said to be allowed."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._read = 0
        self.is_waiting = False
        """Whether the client has not sent what the application waits for."""

    async def __call__(self) -> Message:
        self.is_waiting = True
        message = await self._receive()
        self.is_waiting = False
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._limit:
                raise _too_large(self._limit)
        return message


def _too_large(limit: int) -> HttpError:
    return HttpError(413, "payload_too_large", f"The body is larger than {limit:,} bytes.")


def _is_unauthorised(error: DurableError) -> bool:
    return isinstance(error, HttpError) and error.status == 401  # noqa: PLR2004


def _has_token(headers: Headers, token: str) -> bool:
    """As a bearer, or as the password of a browser's own prompt; compared in constant time."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:
            given = ""
    elif scheme.lower() != "bearer":
        given = ""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
