"""What JetStream writes into the reply subject of a message that it delivers."""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "$JS.ACK."
_FIELDS = 9


class DeliveryFields(NamedTuple):
    """``moment`` is when the message was stored, in microseconds; ``remaining`` how many more the consumer has."""

    consumer: str
    attempt: int
    stream_sequence: int
    consumer_sequence: int
    moment: int
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
