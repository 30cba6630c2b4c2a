"""Counting messages on the server: a number comes back, and the first message; no consumer is made, nothing written."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.clock import MICROSECONDS
from durablectl.storage.feed import Change
from durablectl.storage.requests import unanswered
from durablectl.storage.states import MARKER, get_many_last

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from durablectl.storage.store import Store

_BATCH = 500


class Counted(NamedTuple):
    """How many messages match, and the subject of that which was stored first; empty when there is none."""

    number: int
    first: str = ""


async def count(store: Store, stream: str, filter_subject: str) -> Counted:
    """The messages on ``filter_subject`` (wildcards allowed). The server takes about 0.1 ms for a thousand."""
    body = json.dumps({"seq": 1, "batch": 1, "next_by_subj": filter_subject}).encode()
    replies = await store.requests.send_many(f"{store.api}.DIRECT.GET.{stream}", body)
    headers = replies[0].headers or {}
    if "Nats-Num-Pending" in headers and "Nats-Subject" in headers:
        return Counted(int(headers["Nats-Num-Pending"]) + 1, headers["Nats-Subject"])
    if headers.get("Status") == "404":
        return Counted(0)
    raise unanswered(replies[0], stream)


async def count_many(store: Store, stream: str, filter_subjects: Sequence[str]) -> list[Counted]:
    """The same for several filters, asked together."""
    return list(await asyncio.gather(*(count(store, stream, subject) for subject in filter_subjects)))


async def subjects_matching(store: Store, stream: str, filter_subjects: Sequence[str]) -> list[str]:
    """The subjects that have a message. For up to a few thousand: all of them come over."""
    answer = await get_many_last(store, stream, filter_subjects)
    if answer is not None:
        return [raw.subject for raw in answer.messages]
    return [change.subject for each in filter_subjects async for change in messages(store, stream, each)]


async def messages(store: Store, stream: str, filter_subject: str) -> AsyncIterator[Change]:
    """The stored messages in the order of their sequences, without a consumer.

    For up to some ten thousand matches: each five hundred cost the server as much as counting all of them.
    """
    sequence = 0
    while True:
        body = json.dumps({"seq": sequence + 1, "batch": _BATCH, "next_by_subj": filter_subject}).encode()
        *stored, end = await store.requests.send_many(f"{store.api}.DIRECT.GET.{stream}", body)
        headers = end.headers or {}
        if headers.get("Status") not in {"204", "404"}:
            raise unanswered(end, stream)
        remaining = int(headers.get("Nats-Num-Pending", 0))
        for number, message in enumerate(stored, 1):
            about = message.headers or {}
            sequence = int(about["Nats-Sequence"])
            moment = int(datetime.fromisoformat(about["Nats-Time-Stamp"]).timestamp() * MICROSECONDS)
            left = remaining + len(stored) - number
            yield Change(about["Nats-Subject"], message.data, sequence, moment, left, MARKER in about)
        if not stored or not remaining:
            return
