"""Durable workflows on NATS JetStream. Names are loaded when first used, so that the CLI starts fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durablectl.client import Client as Client
    from durablectl.engine.sdk.context import Context as Context
    from durablectl.engine.sdk.registry import service as service
    from durablectl.engine.sdk.registry import workflow as workflow
    from durablectl.errors import (
        AlreadyExistsError as AlreadyExistsError,
    )
    from durablectl.errors import (
        ConflictError as ConflictError,
    )
    from durablectl.errors import (
        ConnectionFailedError as ConnectionFailedError,
    )
    from durablectl.errors import (
        DurableError as DurableError,
    )
    from durablectl.errors import (
        InvalidNameError as InvalidNameError,
    )
    from durablectl.errors import (
        InvalidStateError as InvalidStateError,
    )
    from durablectl.errors import (
        InvalidValueError as InvalidValueError,
    )
    from durablectl.errors import (
        NonDeterminismError as NonDeterminismError,
    )
    from durablectl.errors import (
        NotFoundError as NotFoundError,
    )
    from durablectl.errors import (
        StepError as StepError,
    )
    from durablectl.errors import (
        TerminalError as TerminalError,
    )
    from durablectl.errors import (
        WaitTimeoutError as WaitTimeoutError,
    )
    from durablectl.errors import (
        WorkflowCancelledError as WorkflowCancelledError,
    )
    from durablectl.errors import (
        WorkflowFailedError as WorkflowFailedError,
    )
    from durablectl.model.retry_policy import Retry as Retry

_HOME = {
    "Client": "durablectl.client",
    "Context": "durablectl.engine.sdk.context",
    "Retry": "durablectl.model.retry_policy",
    "service": "durablectl.engine.sdk.registry",
    "workflow": "durablectl.engine.sdk.registry",
    **dict.fromkeys(
        (
            "AlreadyExistsError",
            "ConflictError",
            "ConnectionFailedError",
            "DurableError",
            "InvalidNameError",
            "InvalidStateError",
            "InvalidValueError",
            "NonDeterminismError",
            "NotFoundError",
            "StepError",
            "TerminalError",
            "WaitTimeoutError",
            "WorkflowCancelledError",
            "WorkflowFailedError",
        ),
        "durablectl.errors",
    ),
}

__all__ = [*_HOME]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'durablectl' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
