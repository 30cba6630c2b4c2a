"""Counting messages on the server: a number comes back, and the first message; no consumer is made, nothing written."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

from durablectl.storage.requests import unanswered
from durablectl.storage.states import get_many_last

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    found: list[str] = []
    for subject in filter_subjects:
        sequence = 0
        while True:
            body = json.dumps({"seq": sequence + 1, "batch": _BATCH, "next_by_subj": subject}).encode()
            replies = await store.requests.send_many(f"{store.api}.DIRECT.GET.{stream}", body)
            headers = [reply.headers or {} for reply in replies]
            stored = [header for header in headers if "Nats-Subject" in header]
            found += [header["Nats-Subject"] for header in stored]
            if headers[-1].get("Status") not in {"204", "404"}:
                raise unanswered(replies[-1], stream)
            if not stored or headers[-1].get("Nats-Num-Pending", "0") == "0":
                break
            sequence = int(stored[-1]["Nats-Sequence"])
    return found
