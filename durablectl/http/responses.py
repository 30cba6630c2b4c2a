"""What errors look like over HTTP, and how JSON is sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from durablectl.errors import (
    ConflictError,
    ConnectionFailedError,
    DurableError,
    NotFoundError,
    PayloadTooLargeError,
    StaleRevisionError,
    UnreadableError,
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
    (UnreadableError, 409),
    (ConnectionFailedError, 503),
    (WaitTimeoutError, 503),
)


_TERMINAL = re.compile(r"durablectl |`wf |--[a-z]")
"""What is said to those who have a terminal before them."""
_HINTS = {
    "not_found": "GET /api/workflows lists those that there are.",
    "not_provisioned": "A processor, or the first start, creates the streams of a namespace.",
    "already_exists": "Choose another id.",
}


class HttpError(DurableError):
    """An error of the request itself, with its HTTP status and a machine code of its own."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.own_code = code


def internal_error() -> HttpError:
    """What is said of an error that is our own."""
    return HttpError(500, "internal", "This is a bug in durablectl; its log tells more.")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One line, so that ``curl`` ends with it."""
    return Response(encode_json(value) + b"\n", status, headers, media_type="application/json")


def encode_json(value: Any) -> bytes:
    """JSON without a line break."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # A lone surrogate, which JSON may hold escaped, has no UTF-8.
        return json.dumps(value, separators=(",", ":")).encode()


def error_response(error: DurableError, headers: Mapping[str, str] | None = None) -> Response:
    """``{"error": {"code", "message", "hint"}}``, with the status that belongs to it."""
    status, body = describe_error(error)
    return json_response({"error": body}, status, headers)


def describe_error(error: DurableError) -> tuple[int, dict[str, str | None]]:
    """Its status, and ``{"code", "message", "hint"}``; nothing of the inside for what is no fault of the caller."""
    if isinstance(error, HttpError):
        return error.status, _body(error.own_code, error.message, error.hint)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 503:  # noqa: PLR2004  # the address of the NATS server is nobody's business
        return status, _body(error.code, "The NATS server cannot be reached.", "Try again a little later.")
    hint = "" if _TERMINAL.search(error.hint) else error.hint
    return status, _body(error.code, error.message, _HINTS.get(error.code, hint))


def _body(code: str, message: str, hint: str) -> dict[str, str | None]:
    return {"code": code, "message": message, "hint": hint or None}
