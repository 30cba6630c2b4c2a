"""The record that says for which index stream every workflow is entered, or which processor enters them now.

An index stream that was lost and created again is another one: it was created at another time. The record lies with the
states, beside the handlers. A processor that dies in the middle leaves it unfinished, and another continues.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from durablectl.storage.connection.rejections import WrongSequenceError
from durablectl.storage.connection.requests import EXPECTED

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


class IndexMarker(NamedTuple):
    """``created`` identifies the index stream; ``filler`` is the processor at work on it, "" where none is."""

    created: str = ""
    is_complete: bool = False
    filler: str = ""


def parse_marker(data: bytes) -> IndexMarker:
    """One that says nothing where it cannot be read."""
    try:
        said = json.loads(data)
        return IndexMarker(str(said["created"]), said["is_complete"] is True, str(said["filler"]))
    except (ValueError, RecursionError, TypeError, KeyError):
        return IndexMarker()


async def replace_marker(store: Store, marker: IndexMarker, revision: int) -> int | None:
    """Write it over that of ``revision``, 0 for none; the new revision, or None where another process was first."""
    data = json.dumps(marker._asdict()).encode()
    try:
        ack = await store.requests.publish(store.subjects.index_marker, data, {EXPECTED: str(revision)})
    except WrongSequenceError:
        return None
    return ack.sequence
