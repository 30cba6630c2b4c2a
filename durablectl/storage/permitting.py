"""Writes of which it is not sure that the credentials allow them: nats-server does not answer what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import nats.errors

from durablectl.errors import PermissionDeniedError
from durablectl.storage import connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.storage.requests import Request
    from durablectl.storage.store import Store

_VIOLATION = "permissions violation"


async def exchange(store: Store, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """As ``Requests.exchange``; PermissionDeniedError, at once, where the server refuses one."""
    before = store.nats.last_error
    answers = asyncio.ensure_future(store.requests.exchange(requests))
    try:
        with _untold():
            await asyncio.sleep(0)
            # The server answers a ping after it has refused what came before it.
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await store.flush()
        error = store.nats.last_error
        if error is not before and _VIOLATION in str(error).lower():
            raise PermissionDeniedError(
                "These credentials may not repair: the server refused what has to be written.",
                hint=f"It said: {str(error).removeprefix('nats: ')}.",
            )
        return await answers
    finally:
        answers.cancel()
        if answers.done() and not answers.cancelled():
            answers.exception()


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """The connection logs each refusal; of hundreds sent together that would be hundreds of lines."""

    def is_other(record: logging.LogRecord) -> bool:
        return _VIOLATION not in record.getMessage().lower()

    log = logging.getLogger(connection.__name__)
    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)
