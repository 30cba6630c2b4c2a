"""The ASGI application: routes, error answers, and what every request passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from durablectl.errors import DurableError
from durablectl.http import reading, sending, steering
from durablectl.http.answers import HttpError, error_response, json_response
from durablectl.http.gate import Gate
from durablectl.http.parameters import ONLY_KNOWN
from durablectl.http.shapes import Health, documented
from durablectl.storage.provision import is_provisioned

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from durablectl.http.backend import Backend
    from durablectl.http.options import HttpOptions

_ABOUT = """Durable workflows on NATS JetStream: start them, look at them, steer them.

Errors are `{"error": {"code", "message", "hint"}}`. Times are RFC 3339 in UTC; absent values are null.
"""


def create_app(backend: Backend, options: HttpOptions, version: str) -> ASGIApp:
    """``backend`` is connected by whoever serves this."""
    app = FastAPI(title="durablectl", version=version, description=_ABOUT, redoc_url=None, docs_url=None)
    app.include_router(reading.router(backend))
    app.include_router(steering.router(backend))
    app.include_router(sending.router(backend))
    app.include_router(_health(backend, version))
    for kind, handler in (
        (DurableError, _failed),
        (RequestValidationError, _malformed),
        (HTTPException, _unroutable),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # each gets the errors of its kind
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"],
            expose_headers=["ETag", "Link", "Location"],
        )
    return Gate(app, options)


def _health(backend: Backend, version: str) -> APIRouter:
    routes = APIRouter(tags=["service"], dependencies=ONLY_KNOWN)

    @routes.get("/health", summary="Whether it can do its work", responses=documented(Health, 400, 503))
    async def health(
        *, ready: Annotated[bool, Query(description="Also ask JetStream for the streams.")] = False
    ) -> Response:
        """503 while the NATS server is out of reach; with `ready`, also while the namespace has no streams."""
        is_connected = backend.is_connected
        is_ready = is_connected and (not ready or await is_provisioned(backend.store))
        status = "healthy" if is_ready else "not ready" if is_connected else "unhealthy"
        nats = "connected" if is_connected else "disconnected"
        return json_response({"status": status, "nats": nats, "version": version}, 200 if is_ready else 503)

    return routes


async def _failed(_: Request, error: DurableError) -> Response:
    return error_response(error)


async def _malformed(_: Request, error: RequestValidationError) -> Response:
    """The first of what does not fit, named."""
    first: dict[str, Any] = error.errors()[0]
    place, *names = (str(part) for part in first["loc"])
    what = {"query": "parameter", "header": "header", "path": "path part"}.get(place, place)
    given = first.get("input")
    shown = f" {given!r}" if isinstance(given, str) else ""
    message = f"The {what} {' '.join(names)} cannot be used: {first['msg']}{f'; it is{shown}' if shown else ''}."
    return error_response(HttpError(400, "usage", message))


async def _unroutable(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:  # noqa: PLR2004
        unknown = HttpError(404, "not_found", f"There is nothing at {request.url.path}.", hint="See /openapi.json.")
        return error_response(unknown)
    if error.status_code == 405:  # noqa: PLR2004
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.method} is not possible here{f'; {allowed} is' if allowed else ''}."
        return error_response(HttpError(405, "method_not_allowed", message), error.headers)
    return error_response(HttpError(error.status_code, "error", str(error.detail)), error.headers)
