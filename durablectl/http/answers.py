"""What errors look like over HTTP, and how JSON is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from durablectl.errors import (
    ConflictError,
    ConnectionFailedError,
    DurableError,
    NotFoundError,
    PayloadTooLargeError,
    StaleRevisionError,
    UsageError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUSES: tuple[tuple[type[DurableError], int], ...] = (
    (UsageError, 400),
    (NotFoundError, 404),
    (StaleRevisionError, 412),
    (ConflictError, 409),
    (PayloadTooLargeError, 413),
    (ConnectionFailedError, 503),
    (WaitTimeoutError, 503),
)


class HttpError(DurableError):
    """An error of the request itself, with its HTTP status and a machine code of its own."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.own_code = code


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One line, so that ``curl`` ends with it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
    # A lone surrogate, which JSON may hold escaped, has no UTF-8.
    body = text.encode("utf-8", "surrogatepass") if text.isascii() else _encoded(value, text)
    return Response(body, status, headers, media_type="application/json")


def _encoded(value: Any, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return (json.dumps(value, separators=(",", ":")) + "\n").encode()


def error_response(error: DurableError, headers: Mapping[str, str] | None = None) -> Response:
    """``{"error": {"code", "message", "hint"}}``; nothing of the inside for what is no fault of the caller."""
    if isinstance(error, HttpError):
        return _error(error.status, error.own_code, error.message, error.hint, headers)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 503:  # noqa: PLR2004  # the address of the NATS server is nobody's business
        return _error(status, error.code, "The NATS server cannot be reached.", "Try again a little later.", headers)
    return _error(status, error.code, error.message, error.hint, headers)


def _error(status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None) -> Response:
    return json_response({"error": {"code": code, "message": message, "hint": hint or None}}, status, headers)
