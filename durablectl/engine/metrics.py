"""What a processor counts, for Prometheus. Counting adds to plain numbers; they become metrics when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from durablectl.model.clock import MICROSECONDS
from durablectl.model.names import is_system_handler
from durablectl.model.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_NAMES = (*map(str, _BOUNDS), "+Inf")


class DurationHistogram:
    """How many lie below each bound, and what they come to."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * len(_NAMES)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """A negative one, of clocks that differ, counts as none."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        family.add_metric(labels, list(zip(_NAMES, accumulate(self._counts), strict=True)), self._seconds)


class HandlerMetrics:
    """Of one handler. Times are in microseconds."""

    __slots__ = ("ended", "fences", "lags", "retries", "started", "steps")

    def __init__(self) -> None:
        self.started = 0
        self.ended = dict.fromkeys(sorted(TERMINAL), 0)
        self.retries = 0
        self.fences = 0
        self.lags = DurationHistogram()
        self.steps: dict[str, DurationHistogram] = defaultdict(DurationHistogram)

    def claimed(self, *, first: bool, lag: int | None) -> None:
        """``lag`` is None where the command says nothing of it: it had been claimed before, or there is none."""
        if first:
            self.started += 1
        if lag is not None:
            self.lags.add(lag / MICROSECONDS)

    def step(self, kind: str, duration: int) -> None:
        self.steps[kind].add(duration / MICROSECONDS)


class Metrics(Collector):
    """Of one processor, by registered handler; ``busy`` says how many of its slots are taken."""

    def __init__(self, handlers: Iterable[str], slots: int, busy: Callable[[], int]) -> None:
        self.of: Mapping[str, HandlerMetrics] = {handler: HandlerMetrics() for handler in handlers}
        self.loop_blocks = 0
        self.loop_blocked_seconds = 0.0
        self._slots = slots
        self._busy = busy

    def text(self) -> bytes:
        """As Prometheus reads it, with what the system knows of this process."""
        return exposition(self, ProcessCollector(registry=None))

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("durablectl_slots", "Workflows that it executes at once, at most.", self._slots)
        yield GaugeMetricFamily("durablectl_slots_in_use", "Workflows that it executes now.", self._busy())
        yield CounterMetricFamily(
            "durablectl_event_loop_blocks",
            "Times that the event loop was blocked for a second or more.",
            self.loop_blocks,
        )
        yield CounterMetricFamily(
            "durablectl_event_loop_blocked_seconds", "How long these times were together.", self.loop_blocked_seconds
        )
        started = _counter("workflows_started", "Workflows that this processor was the first to take up.")
        ended = _counter("workflows_ended", "Workflows that this processor has brought to their end.", "status")
        retries = _counter("step_retries", "Attempts of steps that failed and are followed by another.")
        fences = _counter("fences", "Workflows let go of because somebody else owned them by then.")
        lags = _histogram("command_lag", "From the storing of a command to its claim.")
        steps = _histogram("step_duration", "Of steps, from the first attempt to the journal.", "kind")
        for handler, metrics in self.of.items():
            if is_system_handler(handler):
                continue
            started.add_metric([handler], metrics.started)
            retries.add_metric([handler], metrics.retries)
            fences.add_metric([handler], metrics.fences)
            for status, number in metrics.ended.items():
                ended.add_metric([handler, status], number)
            metrics.lags.add_to(lags, [handler])
            for kind, durations in metrics.steps.items():
                durations.add_to(steps, [handler, kind])
        yield from (started, ended, retries, fences, lags, steps)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"durablectl_{name}", text, labels=("handler", *labels))


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"durablectl_{name}_seconds", text, labels=("handler", *labels))


def exposition(*collectors: Collector) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)
