"""GET /health: whether the service can do its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from durablectl.http.query_parameters import ONLY_KNOWN
from durablectl.http.responses import json_response
from durablectl.http.schemas import Health, documented
from durablectl.storage.streams.provision import is_provisioned

if TYPE_CHECKING:
    from durablectl.http.backend import Backend


def router(backend: Backend, version: str) -> APIRouter:
    routes = APIRouter(tags=["service"], dependencies=ONLY_KNOWN)

    @routes.get(
        "/health", summary="Whether it can do its work", responses={**documented(Health, 400), 503: {"model": Health}}
    )
    async def health(
        *, ready: Annotated[bool, Query(description="Also ask JetStream for the streams.", examples=[True])] = False
    ) -> Response:
        """503 while the NATS server is out of reach; with `ready`, also while the namespace has no streams."""
        is_connected = backend.is_connected
        is_ready = is_connected and (not ready or await is_provisioned(backend.store))
        status = "healthy" if is_ready else "not ready" if is_connected else "unhealthy"
        nats = "connected" if is_connected else "disconnected"
        return json_response({"status": status, "nats": nats, "version": version}, 200 if is_ready else 503)

    return routes
