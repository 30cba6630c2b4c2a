"""What the HTTP API counts, and GET /metrics: its own figures, the workflows by status, and those of a processor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from durablectl import query
from durablectl.engine.metrics import DurationHistogram, exposition
from durablectl.errors import DurableError
from durablectl.http.query_parameters import ONLY_KNOWN
from durablectl.http.schemas import Failure, documented
from durablectl.storage.commands.wake import count_timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from prometheus_client import Metric

    from durablectl.http.backend import Backend

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CACHE_SECONDS = 5.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_CLOSED = 499
"""What nginx calls it: the client was gone before there was an answer."""


class HttpMetrics(Collector):
    """Requests by the template of their route, never by their path: anybody can make up paths, and methods."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._durations: dict[tuple[str, str], DurationHistogram] = defaultdict(DurationHistogram)

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._requests[route, known, str(status or _CLIENT_CLOSED)] += 1
        self._durations[route, known].add(seconds)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "durablectl_http_requests", "Requests that were answered.", labels=("route", "method", "status")
        )
        for labels, number in self._requests.items():
            requests.add_metric(labels, number)
        yield requests
        durations = HistogramMetricFamily(
            "durablectl_http_request_duration_seconds",
            "Of requests, from their headers to the end of the answer.",
            labels=("route", "method"),
        )
        for place, each in self._durations.items():
            each.add_to(durations, place)
        yield durations


class StoreMetrics(Collector):
    """What the namespace holds, as of a few seconds ago at most; nothing of it while the server is out of reach."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._looked = -_CACHE_SECONDS
        self._looking = asyncio.Lock()
        self._workflows: Mapping[str, Mapping[str, int]] = {}
        self._timers: int | None = None

    async def refresh(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked < _CACHE_SECONDS:
                return
            self._workflows, self._timers = {}, None
            with contextlib.suppress(DurableError):
                store = self._backend.store
                self._workflows = (await query.get_stats(store)).statuses_of
                self._timers = await count_timers(store)
            self._looked = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "durablectl_nats_connected", "1 while the NATS server is in reach.", int(self._backend.is_connected)
        )
        workflows = GaugeMetricFamily(
            "durablectl_workflows", "Workflows that the namespace holds.", labels=("handler", "status")
        )
        for handler, numbers in self._workflows.items():
            for status, number in numbers.items():
                workflows.add_metric([handler, status], number)
        yield workflows
        if self._timers is not None:
            yield GaugeMetricFamily(
                "durablectl_timers_pending", "Timers that the NATS server holds for workflows.", self._timers
            )


def router(backend: Backend, metrics: HttpMetrics, processor: Callable[[], Awaitable[bytes]] | None) -> APIRouter:
    """``processor`` gives the text of the one that this API stands beside."""
    routes = APIRouter(tags=["service"], dependencies=ONLY_KNOWN)
    stored = StoreMetrics(backend)

    @routes.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        operation_id="metrics",
        responses=documented(Failure, 400)
        | {200: {"description": "In its text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show() -> Response:
        """docs/metrics.md tells what each means."""
        await stored.refresh()
        if processor is None:
            text = exposition(metrics, stored, ProcessCollector(registry=None))
        else:
            text = await processor() + exposition(metrics, stored)
        return Response(text, media_type=_CONTENT_TYPE)

    return routes
