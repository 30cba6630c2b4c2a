"""Cursors: where a page ends, as the key of its last row. They outlive the index being built anew."""

from __future__ import annotations

import base64
import binascii

from durablectl.errors import UsageError
from durablectl.storage.index.time_buckets import Key


def write_cursor(key: Key, *, oldest_first: bool) -> str:
    text = f"{'+' if oldest_first else '-'}{key.moment}~{key.invocation_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *, oldest_first: bool) -> Key | None:
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, separator, invocation_id = text[1:].partition("~")
        key = Key(int(moment), invocation_id)
    except (binascii.Error, ValueError):
        separator, text, key = "", "", Key(0, "")
    if not separator or text[0] not in "+-" or not key.invocation_id:
        raise UsageError(f"The cursor {cursor[:80]!r} is none of ours.", hint="Use the next_cursor of a list.")
    if (text[0] == "+") != oldest_first:
        raise UsageError("The cursor is that of a list in the other order.", hint="Keep --oldest-first as it was.")
    return key
