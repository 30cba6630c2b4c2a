"""The ASGI application: routes, error answers, and what every request passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import compile_path

from durablectl.errors import DurableError
from durablectl.http.event_broadcast import EventBroadcast
from durablectl.http.middleware import RequestMiddleware
from durablectl.http.openapi import openapi_document
from durablectl.http.query_parameters import sentence
from durablectl.http.responses import HttpError, error_response, internal_error
from durablectl.http.routes import audit, events, health, jobs, lifecycle, messages, pages, read
from durablectl.http.routes.metrics import HttpMetrics
from durablectl.http.routes.metrics import router as metrics_router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

    from durablectl.http.backend import Backend
    from durablectl.http.server_options import HttpOptions

_ABOUT = """Durable workflows on NATS JetStream: start them, look at them, steer them.

Errors are `{"error": {"code", "message", "hint"}}`. Times are RFC 3339 in UTC; absent values are null.
"""


def create_app(
    backend: Backend,
    options: HttpOptions,
    version: str,
    processor_metrics: Callable[[], Awaitable[bytes]] | None = None,
) -> ASGIApp:
    """``backend`` is connected by whoever serves this; ``processor_metrics`` are those of whom it stands beside."""
    broadcast = EventBroadcast(backend)
    app = FastAPI(
        title="durablectl",
        version=version,
        description=_ABOUT,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lambda _: broadcast.open(),
    )
    app.include_router(read.router(backend))
    app.include_router(lifecycle.router(backend))
    app.include_router(messages.router(backend))
    app.include_router(jobs.router(backend))
    app.include_router(audit.router(backend))
    app.include_router(events.router(backend, broadcast, options.heartbeat_seconds))
    app.include_router(health.router(backend, version))
    app.include_router(pages.router(version, read_only=options.read_only))
    metrics = HttpMetrics()
    app.include_router(metrics_router(backend, metrics, processor_metrics))
    for kind, handler in (
        (DurableError, _durable_error),
        (RequestValidationError, _validation_error),
        (HTTPException, _routing_error),
        (Exception, _internal_error),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # each gets the errors of its kind
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    openapi_document(app, options)
    guarded = RequestMiddleware(app, options, metrics.count_request)
    if not options.cors_origins:
        return guarded
    # Outside of the middleware: a browser asks without the token whether it may send it, and reads refusals, too.
    return CORSMiddleware(
        guarded,
        allow_origins=list(options.cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "If-Match",
            "If-None-Match",
            "Idempotency-Key",
            "Last-Event-ID",
        ],
        expose_headers=["ETag", "Link", "Location"],
    )


async def _durable_error(_: Request, error: DurableError) -> Response:
    return error_response(error)


async def _internal_error(*_: object) -> Response:
    """The request middleware logs it."""
    return error_response(internal_error())


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    """The first of what does not fit, named."""
    return error_response(HttpError(400, "usage", sentence(error.errors()[0])))


async def _routing_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:  # noqa: PLR2004
        unknown = HttpError(
            404, "not_found", f"There is nothing at {request.url.path[:200]}.", hint="See /openapi.json."
        )
        return error_response(unknown)
    if error.status_code == 405:  # noqa: PLR2004
        allowed = _allowed_methods(request)
        message = f"{request.method} is not possible here; {allowed} is."
        return error_response(HttpError(405, "method_not_allowed", message), {"Allow": allowed})
    return error_response(HttpError(error.status_code, "error", str(error.detail)), error.headers)


def _allowed_methods(request: Request) -> str:
    """The methods of all routes with this path, where Starlette names those of the first."""
    paths = request.app.openapi()["paths"]
    here = request.url.path
    found = [here] if here in paths else [path for path in paths if compile_path(path)[0].match(here)]
    methods = {method.upper() for path in found for method in paths[path]}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
