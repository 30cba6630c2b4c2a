"""What JetStream answers when it does not do what it was asked for, as errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from durablectl.errors import (
    ConfigurationError,
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


class NoDirectAccessError(ConfigurationError):
    """A stream is there, but its configuration does not allow the direct gets by which everything is read."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"The stream {stream} cannot be read: its direct access is off (allow_direct).",
            hint="Run `durablectl doctor --repair --streams`.",
        )


class StorageFullError(StorageError):
    """There is no room: a limit is reached, or a disk is full. Nothing was stored, and later it may be."""


_parse = json.JSONDecoder().raw_decode


def answer_of(reply: Msg, subject: str) -> dict[str, Any]:
    """What JetStream has answered, as JSON data; raises what it refuses with."""
    if not reply.data:
        raise status_error(reply, subject)
    answer: dict[str, Any] = _parse(reply.data.decode())[0]
    if "error" in answer:
        raise api_error(answer["error"], subject)
    return answer


def too_large(size: int, limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"A record of {size:,} bytes is over the server's maximum payload of {limit:,} bytes.",
        hint="Store the data elsewhere and pass a reference, or raise max_payload in the server's configuration.",
    )


def too_large_for_user(size: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"A record of {size:,} bytes is over the maximum payload that the server allows to this user or account.",
        hint="Store the data elsewhere and pass a reference, or raise the payload limit of the user or account.",
    )


def missing_stream(stream: str) -> NotProvisionedError:
    """The error for a stream that is not there; it says which, and who creates it."""
    return NotProvisionedError(
        f"The stream {stream} does not exist on this NATS server.",
        hint="A processor creates it: start one (durablectl run processor APP); one that runs does so within seconds. "
        "Or check --namespace.",
    )


def stream_of(subject: str) -> str:
    """The name of the stream that a subject, a JetStream API subject, or the name itself is about."""
    if "." not in subject:
        return subject
    tokens = subject.split(".")
    if tokens[0] == "$KV":
        return f"KV_{tokens[1]}"
    begin = next((number for number, token in enumerate(tokens) if token in {"DIRECT", "STREAM", "CONSUMER"}), -1)
    if begin >= 0:
        # DIRECT.GET.NAME, STREAM.INFO.NAME, STREAM.MSG.DELETE.NAME, CONSUMER.CREATE.NAME, CONSUMER.MSG.NEXT.NAME
        at = begin + (3 if tokens[begin + 1] == "MSG" else 2)
        return tokens[at] if at < len(tokens) else f"behind {subject}"
    first, _, namespace = tokens[0].partition("-")
    is_index = first == "durable" and tokens[1] == "index"
    names = {"commands": "COMMANDS", "schedules": "COMMANDS", "durable": "KV_EXECUTION_STATE"}
    name = "EXECUTION_INDEX" if is_index else names.get(first, f"behind {subject}")
    return f"{name}_{namespace}" if namespace else name


def status_error(reply: Msg, subject: str) -> StorageError | ConnectionFailedError | NotProvisionedError:
    """The error for a reply that carries a status instead of an answer."""
    status = (reply.headers or {}).get("Status", "")
    if status == "503":
        return missing_stream(stream_of(subject))
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
        return missing_stream(stream_of(subject))
    return _refusal(code, description, subject)


def _refusal(code: int, description: str, subject: str) -> StorageError:
    if code in _FULL or any(words in description for words in _FULL_WORDS):
        return StorageFullError(
            f"The NATS server has no room left for {subject}: {description} (error {code}).",
            hint="Free its disk, or raise its max_file_store, the account's limit, or max_bytes of the stream. "
            "Processors then go on by themselves.",
        )
    return StorageError(f"JetStream refused {subject}: {description} (error {code}).")
