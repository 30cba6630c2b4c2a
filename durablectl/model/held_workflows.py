"""Which workflows a processor runs, as a short text in its lease: four bytes for each id."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_PREFIX = "crc32:"
_MOST = 4096
"""Of more, the lease would be too big to be written every second."""
_BYTES = 4


def digest_ids(invocation_ids: Collection[str]) -> str:
    """The text for these ids; empty for too many, which says nothing."""
    if len(invocation_ids) > _MOST:
        return ""
    hashes = sorted(_hash(each) for each in invocation_ids)
    return _PREFIX + base64.b64encode(b"".join(each.to_bytes(_BYTES, "big") for each in hashes)).decode()


class HeldWorkflows:
    """The workflows that several such texts name, for many questions; a text that says nothing names none."""

    def __init__(self, digests: Iterable[str]) -> None:
        self._hashes = {
            data[start : start + _BYTES]
            for data in map(_parse, digests)
            if data is not None
            for start in range(0, len(data), _BYTES)
        }

    def __contains__(self, invocation_id: str) -> bool:
        return _hash(invocation_id).to_bytes(_BYTES, "big") in self._hashes


def is_held(digest: str, invocation_id: str) -> bool | None:
    """Whether a text was made of this id, among others; None for a text that says nothing.

    One in a million of other ids seems to be there among 4,096.
    """
    data = _parse(digest)
    if data is None:
        return None
    wanted = _hash(invocation_id).to_bytes(_BYTES, "big")
    return any(data[start : start + _BYTES] == wanted for start in range(0, len(data), _BYTES))


def _parse(digest: str) -> bytes | None:
    if not digest.startswith(_PREFIX):
        return None
    try:
        return base64.b64decode(digest.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None


def _hash(invocation_id: str) -> int:
    return zlib.crc32(invocation_id.encode())
