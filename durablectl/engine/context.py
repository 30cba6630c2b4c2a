"""What a workflow is written against."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.attempts import Call, Local, step_name
from durablectl.engine.steps import Gather, Step
from durablectl.errors import InvalidValueError
from durablectl.model.clock import to_datetime
from durablectl.model.names import validate_name
from durablectl.model.retry import Retry, seconds
from durablectl.model.values import decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from durablectl.engine.log import ReplayLogger
    from durablectl.engine.run import Run

_T = TypeVar("_T")


class Context:
    """One invocation, as its handler sees it.

    Everything that can differ between two runs of the same code - calls, time, randomness - goes through it, so that a
    replay sees what the first run saw.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def invocation_id(self) -> str:
        return self._run.invocation_id

    @property
    def handler(self) -> str:
        return self._run.handler

    @property
    def attempt(self) -> int:
        """How many times a processor has taken this invocation up; 1 on the first run, more after a crash."""
        return self._run.attempt

    @property
    def is_replaying(self) -> bool:
        """Whether recorded steps are still ahead."""
        return self._run.is_replaying

    @property
    def log(self) -> ReplayLogger:
        """A logger that is silent while recorded steps are replayed."""
        return self._run.log

    def call(
        self,
        service: str,
        method: str,
        request: Any = None,
        response_type: type[_T] | None = None,
        *,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
    ) -> Step[_T]:
        """Ask a NATS micro service at the subject ``<service>.<method>``; await the result.

        A protobuf ``request`` is sent as protobuf, anything else as JSON. ``timeout`` is in seconds an attempt, 30 by
        default. Without ``retry``, silence and time-outs are retried without end and errors of the service up to three
        attempts; then, or at once for an error code of 4xx, StepError is raised.
        """
        validate_name("service name", service)
        validate_name("method name", method)
        attempt_timeout = None if timeout is None else seconds(timeout)
        call = Call(
            self._run.store, f"{service}.{method}", request, response_type, retry=retry, timeout=attempt_timeout
        )
        return Step(self._run, call, response_type)

    def step(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
    ) -> Step[Any]:
        """Run a function, async or sync (in a thread), and record its result; await it.

        ``timeout`` is in seconds an attempt; a thread that is late cannot be stopped, its result is dropped. Three
        attempts by default, then StepError; TerminalError is not tried again.
        """
        attempt_timeout = None if timeout is None else seconds(timeout)
        local = Local(function, args, step_name(function, name), retry=retry, timeout=attempt_timeout)
        return Step(self._run, local, None)

    def gather(self, *steps: Step[Any] | Gather) -> Gather:
        """Run steps side by side; await the list of their results, in the order given.

        All of them end before the first error, in that order, is raised.
        """
        return Gather(self._run, steps)

    def set(self, key: str, value: Any) -> None:
        """Keep a value in the workflow's state, where ``wf get`` shows it. InvalidValueError if it cannot be stored."""
        self._run.check_not_halted()
        state = self._run.workflow_state
        payload = encode_value(value, f"the value of the workflow state {key!r}")
        size = sum(len(p.data) for k, p in state.items() if k != key) + len(payload.data)
        limit = self._run.state_limit
        if size > limit:
            raise InvalidValueError(
                f"With {key!r} the workflow state would hold {size:,} bytes; the server's limit allows {limit:,}.",
                hint="Store the data elsewhere and keep a reference.",
            )
        if payload.type_name:
            self._run.note_type(type(value))
        state[key] = payload

    def get(self, key: str, default: Any = None) -> Any:
        """A copy of the value that ``set`` kept, or ``default``."""
        payload = self._run.workflow_state.get(key)
        return default if payload is None else decode_value(payload)

    def now(self) -> datetime:
        """The time, in UTC, at which the last awaited step ended, or the workflow started: the same on every replay."""
        return to_datetime(self._run.moment)

    def random(self) -> float:
        """From 0 up to but not including 1; the same on every replay. Not for secrets."""
        return self._run.random.random()

    def uuid(self) -> uuid.UUID:
        """A version 4 UUID, the same on every replay. Not for secrets."""
        return uuid.UUID(int=self._run.random.getrandbits(128), version=4)
