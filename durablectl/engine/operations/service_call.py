"""``ctx.call``: a request to a NATS micro service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.step_operation import Failure, StepOperation, describe_failure
from durablectl.errors import ConnectionFailedError, InvalidValueError, PermissionDeniedError
from durablectl.model.kinds import StepKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.retry_policy import STEP_RETRY, TRANSPORT_RETRY, Retry
from durablectl.model.text import message_of
from durablectl.model.values import decode_value, encode_value, is_message, parse_message
from durablectl.storage.connection import micro_services
from durablectl.storage.connection.rejections import ConnectionLostError, NoAnswerError

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run

_T = TypeVar("_T")

DEFAULT_CALL_SECONDS = 30.0


class TransportError(Exception):
    """No service answered: nothing is known to have failed."""


class ServiceError(Exception):
    """A service answered with the micro protocol's error headers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_terminal(self) -> bool:
        """4xx, as in HTTP: the request is at fault, and the same request would fail again."""
        return len(self.code) == 3 and self.code.startswith("4")  # noqa: PLR2004 - three digits


class ServiceCall(StepOperation[_T]):
    """A request whose response is recorded. ``timeout`` is in seconds per attempt."""

    __slots__ = ("_payload", "_retry", "_timeout", "_value")

    def __init__(
        self,
        run: Run,
        subject: str,
        value: Any,
        response_type: type[_T] | None,
        *,
        retry: Retry | None,
        timeout: float | None,
    ) -> None:
        super().__init__(run, StepKind.CALL, subject, response_type)
        self._value = value
        self._retry = retry
        self._timeout = DEFAULT_CALL_SECONDS if timeout is None else timeout
        self._payload = NO_PAYLOAD

    def encode_request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        self._payload = encode_value(self._value, f"the request of step {number} {self.step_type!r}")
        return self._payload, [type(self._value)] if is_message(self._value) else []

    async def attempt(self) -> Any:
        content_type = micro_services.PROTOBUF if self._payload.type_name else micro_services.JSON
        reply = await micro_services.call(
            self._run.state.store, self.step_type, self._payload.data, content_type, self._timeout
        )
        if reply is None:
            raise TransportError("no service answers")
        if reply.error_code or reply.error:
            raise ServiceError(reply.error_code, reply.error or f"error {reply.error_code}")
        return self._decode(reply)

    def _decode(self, reply: micro_services.Reply) -> Any:
        response_type: type[Any] | None = self._response_type
        if response_type is None:
            if reply.content_type == micro_services.PROTOBUF:
                raise InvalidValueError(
                    f"{self.step_type} answered with a protobuf message.",
                    hint="Name its class as the response type of ctx.call.",
                )
            return decode_value(Payload(reply.data))
        if reply.content_type == micro_services.JSON:
            return parse_message(decode_value(Payload(reply.data)), response_type)
        return decode_value(Payload(reply.data, response_type.DESCRIPTOR.full_name), response_type)

    def failure(self, error: BaseException) -> Failure:
        retry = self._retry or TRANSPORT_RETRY
        if isinstance(error, PermissionDeniedError):
            # Tried again: whoever grants it need not do more than that.
            message = f"the processor has no permission to publish to {self.step_type} (docs/permissions.md)"
            return Failure(message, "PermissionDenied", retry, ReasonCode.PERMISSION_DENIED)
        if isinstance(error, (TransportError, TimeoutError, ConnectionFailedError)):
            code = ReasonCode.NO_SERVICE if isinstance(error, TransportError) else ReasonCode.NO_ANSWER
            return Failure(self._unavailable(error), "Unavailable", retry, code)
        if isinstance(error, ServiceError):
            code = ReasonCode.FINAL_ERROR if error.is_terminal else ReasonCode.ATTEMPT_FAILED
            return Failure(message_of(error), f"ServiceError {error.code}", self._retry or STEP_RETRY, code)
        return describe_failure(error, self._retry or STEP_RETRY)

    def _unavailable(self, error: TransportError | TimeoutError | ConnectionFailedError) -> str:
        match error:
            case TransportError():
                return str(error)
            case TimeoutError() | NoAnswerError() if not isinstance(error, ConnectionLostError):
                return f"no answer within {self._timeout:g} s"
            case _:
                return "the connection to NATS was lost before an answer came"
