"""Questions to the server that fit into a message of it."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REST_BYTES = 1024
"""Of a question, beside the subjects that it names."""


def parts(subjects: Sequence[str], max_payload: int) -> Iterator[Sequence[str]]:
    """As few as can be, each of which may be named in one question; all of them at once where that is small enough."""
    limit = max_payload - _REST_BYTES
    if len(subjects) * 512 <= limit:
        yield subjects
        return
    ends = [*accumulate(len(json.dumps(subject)) + 2 for subject in subjects)]
    first, begin = 0, 0
    for number, end in enumerate(ends):
        if end - begin > limit and number > first:
            yield subjects[first:number]
            first, begin = number, ends[number - 1]
    yield subjects[first:]
