"""What a handler awaits: the base of every operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from durablectl.engine.replay.control_flow import JournalDamaged
from durablectl.engine.replay.handler_runner import ABANDON, CANCEL, UNDECODED, WAIT
from durablectl.errors import (
    DamagedValueError,
    DurableError,
    InvalidValueError,
    StepError,
    StepTimeoutError,
    UnreadableError,
    UsageError,
)
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.values import decode_value

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import JournalEntry
    from durablectl.storage.connection.requests import Request

_T = TypeVar("_T")

_SHOWN = 200


class Operation(Generic[_T]):
    """An awaitable of one run; ``ctx.gather`` and ``ctx.race`` take it before it is awaited."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def begin(self) -> asyncio.Future[Any]:
        """Begin it, and with it whatever it is made of; the future of its result, of the handler's loop."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, _T]:
        return self.begin().__await__()


class NumberedOperation(Operation[_T]):
    """An operation with one step number and one journal entry; ``kind`` is that of the entry.

    ``on_cancel`` says what becomes of it when the task that awaits it is cancelled.
    """

    __slots__ = (
        "_is_begun",
        "_request",
        "_request_error",
        "_request_types",
        "_response_type",
        "compare",
        "kind",
        "on_cancel",
        "step_type",
    )

    is_executed = True

    def __init__(self, run: Run, kind: str, step_type: str, response_type: type[_T] | None = None) -> None:
        super().__init__(run)
        self.kind = kind
        self.step_type = step_type
        self.on_cancel = CANCEL
        self.compare = True
        """Whether a replay compares the request with the recorded one."""
        self._response_type = response_type
        self._is_begun = False
        self._request: Payload = NO_PAYLOAD
        self._request_types: list[type[Any]] = []
        self._request_error: InvalidValueError | None = None

    def begin(self) -> asyncio.Future[Any]:
        if self._is_begun:
            raise UsageError(
                f"The step {self.step_type!r} was awaited twice.", hint="Keep its result, or make a new step."
            )
        self._is_begun = True
        return self._run.runner.begin(self)

    def prepare_request(self, number: int) -> None:
        """Encode the request as it is now: the handler may change its arguments before the operation begins."""
        try:
            self._request, self._request_types = self.encode_request(number)
        except InvalidValueError as error:
            self._request_error = error

    def encode_request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        """The request to record, and the message types in it; InvalidValueError when it cannot be recorded."""
        del number
        return NO_PAYLOAD, []

    def difference(self, recorded: JournalEntry) -> tuple[str, str] | None:
        """The recorded request and this one where they differ. One that was not recorded differs from none."""
        if not self.compare or not recorded.kind or self._request_error is not None:
            return None
        if recorded.request in {self._request, NO_PAYLOAD}:
            return None
        return _shown(recorded.request), _shown(self._request)

    def with_options(self, *, compare: bool = True, on_cancel: str = CANCEL) -> Self:
        """Set what the caller may choose. UsageError for an unknown ``on_cancel``."""
        if on_cancel not in {CANCEL, ABANDON, WAIT}:
            raise UsageError(f"on_cancel={on_cancel!r} is unknown.", hint='Use "cancel", "abandon" or "wait".')
        self.compare, self.on_cancel = compare, on_cancel
        return self

    def writes_when_cancelled(self, number: int, entry: JournalEntry | None) -> list[Request]:
        """What to send when its awaiting task was cancelled; may be sent again. ``entry`` is what the journal has.

        Without an entry it may have begun all the same: a process may have died before it was journaled.
        """
        del number, entry
        return []

    async def execute(self, number: int, entry: JournalEntry | None) -> tuple[JournalEntry, Any]:
        """Bring it to its end and journal that; the entry, and the result, UNDECODED where only the entry has it."""
        raise NotImplementedError

    def resolve(self, future: asyncio.Future[Any], entry: JournalEntry, value: Any) -> None:
        """Give its end to the handler, the same on the first run and on a replay."""
        if value is not UNDECODED and not entry.error:
            future.set_result(value)
            return
        try:
            if entry.error:
                future.set_exception(step_error(entry))
            else:
                future.set_result(decode_value(entry.response, self._response_type))
        except DamagedValueError as error:
            self._run.exit(JournalDamaged(_unusable(self._run.state.invocation_id, entry, error.message)))
        except DurableError as error:
            future.set_exception(error)


def _shown(request: Payload) -> str:
    if request.type_name:
        return f"a {request.type_name} of {len(request.data)} bytes"
    text = request.data.decode("utf-8", "replace")
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "no arguments"


def _unusable(invocation_id: str, entry: JournalEntry, why: str) -> UnreadableError:
    return UnreadableError(
        f"The journal entry {entry.step_number} ({entry.step_type!r}) of {invocation_id} cannot be used: {why}",
        hint="Restore the entry from a backup, then resume the workflow.",
    )


def step_error(entry: JournalEntry) -> StepError:
    """What the handler sees of a step that failed for good, now and on every replay.

    DamagedValueError for details that are not JSON.
    """
    kind = StepTimeoutError if entry.reason_code == ReasonCode.TIMED_OUT else StepError
    tries = {0: "", 1: " at its first attempt"}.get(entry.attempts, f" after {entry.attempts} attempts")
    return kind(
        f"Step {entry.step_number} {entry.step_type!r} failed{tries}: {entry.error}",
        step_number=entry.step_number,
        step_type=entry.step_type,
        attempts=entry.attempts,
        error=entry.error,
        error_type=entry.error_class or entry.error_type,
        details=decode_value(Payload(entry.error_details)),
    )
