"""Stored messages as JetStream hands them out, by direct get or by delivery, and what it says about each."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.clock import MICROSECONDS

if TYPE_CHECKING:
    from nats.aio.msg import Msg

DELETION_HEADER = "KV-Operation"
"""The header of a message that marks a deleted key."""
DELIVERY_PREFIX = "$JS.ACK."
_FIELDS = 9


class StoredMessage(NamedTuple):
    """A stored message: payload, stream sequence, subject, and when it was stored, in RFC 3339."""

    data: bytes
    sequence: int
    subject: str
    stored_at: str = ""


def stored_message(reply: Msg) -> StoredMessage:
    headers = reply.headers or {}
    return StoredMessage(reply.data, int(headers["Nats-Sequence"]), headers["Nats-Subject"], headers["Nats-Time-Stamp"])


def parse_timestamp_us(stored_at: str) -> int:
    """Microseconds of an RFC 3339 time in UTC with up to nine decimals; cut, as the server cuts it elsewhere."""
    whole, _, decimals = stored_at.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * MICROSECONDS + int(decimals[:6].ljust(6, "0"))


class Change(NamedTuple):
    """One message of a feed.

    ``sequence`` is its stream sequence, ``timestamp_us`` when the server stored it, ``remaining`` how many
    more the server held for this feed when it sent it, ``deleted`` whether it marks a deleted key.
    """

    subject: str
    data: bytes
    sequence: int
    timestamp_us: int
    remaining: int
    deleted: bool


class DeliveryFields(NamedTuple):
    """``timestamp_us`` is when the message was stored; ``remaining`` how many more the consumer has."""

    consumer: str
    attempt: int
    stream_sequence: int
    consumer_sequence: int
    timestamp_us: int
    remaining: int


def delivery_fields(reply: str) -> DeliveryFields:
    """Both forms are read: with and without domain and account hash before the stream's name."""
    tokens = reply.split(".")
    first = 3 if len(tokens) == _FIELDS else 5
    consumer, attempt, stream_sequence, consumer_sequence, nanoseconds, remaining = tokens[first : first + 6]
    return DeliveryFields(
        consumer,
        int(attempt),
        int(stream_sequence),
        int(consumer_sequence),
        int(nanoseconds) // 1000,
        int(remaining),
    )
