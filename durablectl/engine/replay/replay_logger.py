"""A logger that does not repeat itself on replay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from durablectl.engine.replay.run_state import RunState

_logger = logging.getLogger("durablectl.workflow")


class ReplayLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the invocation to each record, and is silent while recorded steps are ahead."""

    def __init__(self, state: RunState) -> None:
        super().__init__(_logger, {"invocation_id": state.invocation_id, "handler": state.handler})
        self._state = state

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name in logging
        return not self._state.is_replaying and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs
