"""What a workflow is written against."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from durablectl.engine.operations.awakeable import Awakeable
from durablectl.engine.operations.child import ChildHandle, ChildResult, StartChild
from durablectl.engine.operations.function_step import FunctionStep, compensation, step_name
from durablectl.engine.operations.group import Gather, Race
from durablectl.engine.operations.service_call import ServiceCall
from durablectl.engine.operations.signal import SignalWait
from durablectl.engine.operations.sleep import Sleep
from durablectl.engine.operations.wait_operation import limit_us
from durablectl.engine.replay.handler_runner import CANCEL
from durablectl.engine.replay.run import Compensation
from durablectl.errors import InvalidValueError, UsageError
from durablectl.limits import checked_microseconds, checked_seconds
from durablectl.model.clock import to_datetime
from durablectl.model.kinds import StepKind
from durablectl.model.names import (
    awakeable_id_of,
    validate_app_handler,
    validate_name,
    validate_new_invocation_id,
    validate_new_name,
)
from durablectl.model.values import decode_value, encode_value
from durablectl.storage.transitions.start_writes import StartCommand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from durablectl.engine.replay.replay_logger import ReplayLogger
    from durablectl.engine.replay.run import Run
    from durablectl.engine.sdk.registry import Workflow
    from durablectl.model.records import Payload
    from durablectl.model.retry_policy import Retry

_T = TypeVar("_T")


LONGEST_KEY = 1000


def state_size(key: str, payload: Payload) -> int:
    """Bytes that an entry of the workflow state takes in the record, about."""
    return len(key.encode()) * (2 if payload.type_name else 1) + len(payload.data) + len(payload.type_name) + 16


class Context:
    """One invocation, as its handler sees it.

    Everything that can differ between two runs of the same code - calls, time, randomness - goes through it, so that a
    replay sees what the first run saw.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._awakeables: dict[str, int] = {}

    @property
    def invocation_id(self) -> str:
        return self._run.state.invocation_id

    @property
    def handler(self) -> str:
        return self._run.state.handler

    @property
    def attempt(self) -> int:
        """How many times a processor has taken this invocation up; 1 on the first run, more after a crash."""
        return self._run.state.attempt

    @property
    def is_replaying(self) -> bool:
        """Whether recorded steps are still ahead."""
        return self._run.state.is_replaying

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
        compare: bool = True,
        on_cancel: str = CANCEL,
    ) -> ServiceCall[_T]:
        """Ask a NATS micro service at the subject ``<service>.<method>``; await the result.

        A protobuf ``request`` is sent as protobuf, anything else as JSON. ``timeout`` is in seconds an attempt, 30 by
        default. Without ``retry``, silence and time-outs are retried without end and errors of the service up to three
        attempts; then, or at once for an error code of 4xx, StepError is raised. ``compare`` and ``on_cancel`` are as
        for a step.
        """
        validate_name("service name", service)
        validate_name("method name", method)
        attempt_timeout = None if timeout is None else checked_seconds(timeout, "The timeout of ctx.call")
        call = ServiceCall(
            self._run, f"{service}.{method}", request, response_type, retry=retry, timeout=attempt_timeout
        )
        return call.with_options(compare=compare, on_cancel=on_cancel)

    @overload
    def step(
        self,
        function: Callable[..., Awaitable[_T]],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        compare: bool = True,
        on_cancel: str = CANCEL,
    ) -> FunctionStep[_T]: ...

    @overload
    def step(
        self,
        function: Callable[..., _T],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        compare: bool = True,
        on_cancel: str = CANCEL,
    ) -> FunctionStep[_T]: ...

    def step(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        compare: bool = True,
        on_cancel: str = CANCEL,
    ) -> FunctionStep[Any]:
        """Run a function, async or sync (in a thread), and record its result; await it.

        Three attempts by default, then StepError; TerminalError is not tried again.

        Args:
            function: The function; a step runs outside of the handler, on the processor's own event loop.
            args: What it is called with. They are recorded, and compared on a replay.
            name: The step's name; the function's by default.
            retry: When a failed attempt is tried again.
            timeout: Seconds per attempt. A thread that is late cannot be stopped; its result is dropped.
            compare: Whether arguments that differ from the recorded ones on a replay pause the workflow.
            on_cancel: What cancelling the awaiting task does to the step. "cancel", the default, interrupts it;
                "abandon" lets it run; "wait" has the task wait for its end first.
        """
        attempt_timeout = None if timeout is None else checked_seconds(timeout, "The timeout of ctx.step")
        step: FunctionStep[Any] = FunctionStep(
            self._run, function, args, step_name(function, name), retry=retry, timeout=attempt_timeout
        )
        if not compare or on_cancel != CANCEL:
            step.with_options(compare=compare, on_cancel=on_cancel)
        return step

    def gather(self, *steps: Awaitable[Any]) -> Gather:
        """Run steps side by side; await the list of their results, in the order given.

        All of them end before the first error, in that order, is raised.
        """
        return Gather(self._run, steps)

    def race(self, *steps: Awaitable[Any]) -> Race:
        """Run steps side by side until one has ended; await its index and its result. The others are interrupted."""
        return Race(self._run, steps)

    def sleep(self, duration: float | timedelta) -> Sleep:
        """Wait; longer than a second, the workflow is suspended and takes no slot. ``duration`` is in seconds."""
        return Sleep(self._run, checked_microseconds(duration, "The duration of ctx.sleep"))

    def awakeable(
        self, name: str, *, timeout: float | timedelta | None = None, response_type: type[_T] | None = None
    ) -> Awakeable[_T]:
        """Something that an outside system answers; hand out its ``id``, then await the answer.

        The answer may come before the workflow waits for it. Raises StepError when it is rejected, StepTimeoutError
        after ``timeout`` seconds.
        """
        validate_name("awakeable name", name)
        timeout_us = limit_us(timeout, "ctx.awakeable")
        count = self._awakeables.get(name, 0) + 1
        self._awakeables[name] = count
        awakeable_id = awakeable_id_of(self.invocation_id, name, count)
        return Awakeable(self._run, name, awakeable_id, timeout_us, response_type)

    def signal(
        self, name: str, *, timeout: float | timedelta | None = None, response_type: type[_T] | None = None
    ) -> SignalWait[_T]:
        """Receive the next signal of this name, in the order sent; StepTimeoutError after ``timeout`` seconds."""
        validate_name("signal name", name)
        return SignalWait(self._run, name, limit_us(timeout, "ctx.signal"), response_type)

    def invoke(
        self,
        workflow: Workflow | str,
        input: Any = None,
        response_type: type[_T] | None = None,
        *,
        partition_key: str = "",
        timeout: float | timedelta | None = None,
        on_cancel: str = CANCEL,
    ) -> ChildResult[_T]:
        """Run another workflow as a child; await its output. StepError when it failed or was cancelled.

        Cancelling this workflow, or the task that awaits the child, cancels the child. With ``on_cancel="abandon"``
        cancelling the task leaves it running; with "wait" the task waits for its end first.
        """
        timeout_us = limit_us(timeout, "ctx.invoke")
        start = self._start(workflow, input, partition_key, None, is_awaited=True)
        child: ChildResult[_T] = ChildResult(
            self._run, start.handler, timeout_us=timeout_us, message_type=response_type, start=start
        )
        return child.with_options(on_cancel=on_cancel)

    async def spawn(
        self,
        workflow: Workflow | str,
        input: Any = None,
        *,
        partition_key: str = "",
        parent_close: str = "cancel",
    ) -> ChildHandle:
        """Start a child and go on; await its output with ``handle.result()``.

        Cancelling this workflow cancels the child, unless ``parent_close`` is "abandon".
        """
        if parent_close not in {"cancel", "abandon"}:
            raise UsageError(f"parent_close={parent_close!r} is unknown.", hint='Use "cancel" or "abandon".')
        start = self._start(workflow, input, partition_key, None, is_awaited=True)
        kind = StepKind.SPAWN if parent_close == "cancel" else StepKind.SEND
        child_id = await StartChild(self._run, kind, start, "")
        return ChildHandle(self._run, start.handler, child_id)

    def send(
        self,
        workflow: Workflow | str,
        input: Any = None,
        *,
        delay: float | timedelta | None = None,
        partition_key: str = "",
        id: str = "",
    ) -> StartChild:
        """Start another workflow, after ``delay`` seconds if given, and forget it; await its id.

        Without ``id`` the id follows from this invocation and step, so that a replay does not send twice.
        """
        if id:
            validate_new_invocation_id(id)
        start = self._start(workflow, input, partition_key, delay, is_awaited=False)
        return StartChild(self._run, StepKind.SEND, start, id)

    def defer(self, function: Callable[..., Any], *args: Any, name: str | None = None, when: str = "") -> None:
        """Register a compensation: a durable step that runs if the workflow does not complete.

        That is when it fails, is cancelled or times out. The last registered runs first. ``when="cancelled"`` runs it
        only for a cancellation, ``when="failed"`` only for a failure or time-out.
        """
        if when not in {"", "cancelled", "failed"}:
            raise UsageError(f"when={when!r} is unknown.", hint='Use "cancelled" or "failed", or leave it out.')
        step = step_name(function, name)
        if self._may_change(f"ctx.defer of {step}"):
            make = partial(compensation, self._run, function, args, step)
            self._run.compensations.append(Compensation(make, when))

    def _may_change(self, what: str) -> bool:
        """False where a discarded handler asks: nothing is thrown into it. UsageError outside of the handler."""
        runner = self._run.runner
        if runner.loop.is_abandoned:
            return False
        runner.check_inside(what)
        return True

    def _start(
        self,
        workflow: Workflow | str,
        input: Any,
        partition_key: str,
        delay: float | timedelta | None,
        *,
        is_awaited: bool,
    ) -> StartCommand:
        handler = workflow if isinstance(workflow, str) else workflow.name
        validate_app_handler("handler", handler)
        if partition_key:
            validate_new_name("partition key", partition_key)
        delay_us = 0 if delay is None else checked_microseconds(delay, "The delay of ctx.send")
        payload = encode_value(input, f"the input of workflow {handler!r}")
        if payload.type_name:
            self._run.journal_writer.note_type(type(input))
        now = self._run.state.clock.now()
        start_at = now + delay_us if delay_us else 0
        return StartCommand(handler, payload, partition_key, start_at, now, is_awaited)

    def set(self, key: str, value: Any) -> None:
        """Keep a value in the workflow's state, where ``wf get`` shows it. InvalidValueError if it cannot be stored."""
        given: object = key
        if not isinstance(given, str) or not given.isprintable() or not 0 < len(given) <= LONGEST_KEY:
            raise InvalidValueError(
                f"{str(given)[:50]!r} cannot be a key of the workflow state.",
                hint=f"Use a string of 1 to {LONGEST_KEY} printable characters.",
            )
        state = self._run.state.workflow_state
        payload = encode_value(value, f"the value of the workflow state {key!r}")
        size = sum(state_size(k, p) for k, p in state.items() if k != key) + state_size(key, payload)
        limit = self._run.state_limit
        if size > limit:
            raise InvalidValueError(
                f"With {key!r} the workflow state would hold {size:,} bytes; the server's limit allows {limit:,}.",
                hint="Store the data elsewhere and keep a reference.",
            )
        if not self._may_change(f"ctx.set of {key}"):
            return
        if payload.type_name:
            self._run.journal_writer.note_type(type(value))
        state[key] = payload

    def get(self, key: str, default: Any = None) -> Any:
        """A copy of the value that ``set`` kept, or ``default``."""
        payload = self._run.state.workflow_state.get(key)
        return default if payload is None else decode_value(payload)

    def now(self) -> datetime:
        """The time, in UTC, at which the last awaited step ended, or the workflow started: the same on every replay."""
        return to_datetime(self._run.state.logical_time_us)

    def random(self) -> float:
        """From 0 up to but not including 1; the same on every replay. Not for secrets."""
        self._run.runner.check_inside("ctx.random")
        return self._run.random.random()

    def uuid(self) -> uuid.UUID:
        """A version 4 UUID, the same on every replay. Not for secrets."""
        self._run.runner.check_inside("ctx.uuid")
        return uuid.UUID(int=self._run.random.getrandbits(128), version=4)
