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
        AppError as AppError,
    )
    from durablectl.errors import (
        ConfigurationError as ConfigurationError,
    )
    from durablectl.errors import (
        ConflictError as ConflictError,
    )
    from durablectl.errors import (
        ConnectionFailedError as ConnectionFailedError,
    )
    from durablectl.errors import (
        DamagedValueError as DamagedValueError,
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
        NotProvisionedError as NotProvisionedError,
    )
    from durablectl.errors import (
        OutOfRangeError as OutOfRangeError,
    )
    from durablectl.errors import (
        PayloadTooLargeError as PayloadTooLargeError,
    )
    from durablectl.errors import (
        PermissionDeniedError as PermissionDeniedError,
    )
    from durablectl.errors import (
        StaleRevisionError as StaleRevisionError,
    )
    from durablectl.errors import (
        StepError as StepError,
    )
    from durablectl.errors import (
        StepTimeoutError as StepTimeoutError,
    )
    from durablectl.errors import (
        StorageError as StorageError,
    )
    from durablectl.errors import (
        TerminalError as TerminalError,
    )
    from durablectl.errors import (
        UnreadableError as UnreadableError,
    )
    from durablectl.errors import (
        UnsupportedServerError as UnsupportedServerError,
    )
    from durablectl.errors import (
        UsageError as UsageError,
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
    from durablectl.errors import (
        WorkflowTimeoutError as WorkflowTimeoutError,
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
            "AppError",
            "ConfigurationError",
            "ConflictError",
            "ConnectionFailedError",
            "DamagedValueError",
            "DurableError",
            "InvalidNameError",
            "InvalidStateError",
            "InvalidValueError",
            "NonDeterminismError",
            "NotFoundError",
            "NotProvisionedError",
            "OutOfRangeError",
            "PayloadTooLargeError",
            "PermissionDeniedError",
            "StaleRevisionError",
            "StepError",
            "StepTimeoutError",
            "StorageError",
            "TerminalError",
            "UnreadableError",
            "UnsupportedServerError",
            "UsageError",
            "WaitTimeoutError",
            "WorkflowCancelledError",
            "WorkflowFailedError",
            "WorkflowTimeoutError",
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
