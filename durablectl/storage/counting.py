"""Counting messages on the server: a number comes back, and the first message; no consumer is made, nothing written."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

from durablectl.storage.requests import unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.store import Store


class Counted(NamedTuple):
    """How many messages match, and the stream sequence of the first of them; 0 when there is none."""

    number: int
    first_sequence: int


async def count(store: Store, stream: str, filter_subject: str, start: int = 1) -> Counted:
    """The messages on ``filter_subject`` (wildcards allowed) from the sequence ``start`` on.

    The server's time grows with the matches of the filter in the whole stream, whatever ``start`` is: about 0.1 ms a
    thousand.
    """
    body = json.dumps({"seq": max(1, start), "batch": 1, "next_by_subj": filter_subject}).encode()
    replies = await store.requests.send_many(f"{store.api}.DIRECT.GET.{stream}", body)
    headers = replies[0].headers or {}
    if "Nats-Num-Pending" in headers and "Nats-Sequence" in headers:
        return Counted(int(headers["Nats-Num-Pending"]) + 1, int(headers["Nats-Sequence"]))
    if headers.get("Status") == "404":
        return Counted(0, 0)
    raise unanswered(replies[0], stream)


async def count_many(store: Store, stream: str, filter_subjects: Sequence[str], start: int = 1) -> list[Counted]:
    """The same for several filters, asked together."""
    return list(await asyncio.gather(*(count(store, stream, subject, start) for subject in filter_subjects)))
