"""What all runs of one processor share."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from durablectl.engine.worker.crash_loop_guard import Suspects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from durablectl.engine.metrics import Metrics
    from durablectl.engine.sdk.registry import Workflow
    from durablectl.model.clock import Clock
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.message_types import SchemaWriter


@dataclass
class Resources:
    """``random`` spreads retries; the randomness that a handler sees is its run's own.

    ``retention`` is how long what has ended is kept, in microseconds; 0 for ever.
    """

    store: Store
    schemas: SchemaWriter
    workflows: Mapping[str, Workflow]
    processor_id: str
    metrics: Metrics
    retention: int = 0
    suspects: Suspects = field(default_factory=Suspects)
    random: Random = field(default_factory=Random)

    @property
    def clock(self) -> Clock:
        return self.store.clock
