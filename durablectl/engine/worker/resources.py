"""What all runs of one processor share."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from durablectl.engine.worker.crash_loop_guard import CrashLoopGuard
from durablectl.model.names import is_system_handler

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

    ``retention_us`` is how long ended workflows are kept; 0 keeps them without limit. ``version`` is that
    of durablectl, ``app_version`` that of the app, empty where it has none.
    """

    store: Store
    schemas: SchemaWriter
    workflows: Mapping[str, Workflow]
    processor_id: str
    metrics: Metrics
    retention_us: int = 0
    version: str = ""
    app_version: str = ""
    crash_loop_guard: CrashLoopGuard = field(default_factory=CrashLoopGuard)
    random: Random = field(default_factory=Random)

    def retention_of(self, handler: str) -> int:
        """How long its ended workflows are kept; those of durablectl's own remove themselves."""
        return 0 if is_system_handler(handler) else self.retention_us

    @property
    def clock(self) -> Clock:
        return self.store.clock
