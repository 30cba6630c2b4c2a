"""What JetStream answers when it does not do what it was asked for, as errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from durablectl.errors import (
    ConnectionFailedError,
    NotProvisionedError,
    PayloadTooLargeError,
    StorageError,
)

if TYPE_CHECKING:
    from nats.aio.msg import Msg

_WRONG_LAST_SEQUENCE = 10071
_BUSY = 10164
_NO_STREAM = 10059
_UNAVAILABLE = 10008
_FULL = frozenset({10002, 10023, 10028, 10047})
"""Limits of the account, or of the server, for storage."""
_FULL_WORDS = ("maximum bytes", "maximum messages", "no space left", "file too large", "disk quota")
_IN_PROCESS = 10158


class NoAnswerError(ConnectionFailedError):
    """A request was sent and no reply came in time: whether it took effect is unknown."""


class ConnectionLostError(NoAnswerError):
    """The connection was lost after a request was sent: whether it took effect is unknown."""


class NoLeaderError(ConnectionFailedError):
    """A request was refused, and nothing stored: a stream of the cluster has no leader, until it elects one."""

    def __init__(self) -> None:
        super().__init__("JetStream is unavailable at the moment: its cluster has no leader.")


class WrongSequenceError(StorageError):
    """A conditional publish found another last sequence: someone else wrote first."""


class BusyError(WrongSequenceError):
    """Another conditional publish on the same subject is in flight (error 10164, replicated streams only)."""


class StorageFullError(StorageError):
    """There is no room: a limit is reached, or a disk is full. Nothing was stored, and later it may be."""


_parse = json.JSONDecoder().decode


def answer_of(reply: Msg, subject: str) -> dict[str, Any]:
    """What JetStream has answered, as JSON data; raises what it refuses with."""
    if not reply.data:
        raise unanswered(reply, subject)
    answer: dict[str, Any] = _parse(reply.data.decode())
    if "error" in answer:
        raise api_error(answer["error"], subject)
    return answer


def too_large(size: int, limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"A record of {size:,} bytes is over the server's maximum payload of {limit:,} bytes.",
        hint="Store the data elsewhere and pass a reference, or raise max_payload in the server's configuration.",
    )


def unanswered(reply: Msg, subject: str) -> StorageError | ConnectionFailedError | NotProvisionedError:
    """The error for a reply that carries a status instead of an answer."""
    status = (reply.headers or {}).get("Status", "")
    if status == "503":
        return NotProvisionedError(
            f"This NATS server holds no workflows yet: no stream takes {subject}.",
            hint="Start a processor (durablectl run processor) to create the streams, or check --namespace.",
        )
    return StorageError(f"The server answered {subject} with status {status or 'nothing'}.")


def api_error(error: dict[str, Any], subject: str) -> StorageError | NotProvisionedError | ConnectionFailedError:
    code, description = error.get("err_code", 0), error.get("description", "no description")
    if code == _WRONG_LAST_SEQUENCE:
        return WrongSequenceError(description)
    if code == _BUSY:
        return BusyError(description)
    if code == _UNAVAILABLE:
        return NoLeaderError()
    if code == _IN_PROCESS:
        return NoAnswerError("JetStream has this message already, but not on enough servers yet.")
    if code == _NO_STREAM:
        return NotProvisionedError(
            f"The stream behind {subject} does not exist on this server.",
            hint="Start a processor (durablectl run processor) to create the streams, or check --namespace.",
        )
    return _refused(code, description, subject)


def _refused(code: int, description: str, subject: str) -> StorageError:
    if code in _FULL or any(words in description for words in _FULL_WORDS):
        return StorageFullError(
            f"The NATS server has no room left for {subject}: {description} (error {code}).",
            hint="Free its disk, or raise its max_file_store, the account's limit, or max_bytes of the stream. "
            "Processors then go on by themselves.",
        )
    return StorageError(f"JetStream refused {subject}: {description} (error {code}).")
