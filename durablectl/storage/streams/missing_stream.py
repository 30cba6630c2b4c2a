"""Where nobody answers for a stream: there may be none, or its server is starting or stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import DurableError, NotProvisionedError
from durablectl.storage.connection.rejections import NoAnswerError, unanswered

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from durablectl.storage.connection.store import Store


async def why_unanswered(store: Store, reply: Msg, stream: str) -> DurableError:
    """The error for a reply that carries a status instead of an answer; the server is asked about the stream."""
    error = unanswered(reply, stream)
    if not isinstance(error, NotProvisionedError):
        return error
    try:
        information = await store.requests.send(f"{store.api}.STREAM.INFO.{stream}", b"")
    except DurableError as other:
        return other
    if b'"error":' in information.data or not store.requests.has_jetstream:
        return error
    return NoAnswerError(
        "JetStream does not answer on this NATS server: it is starting or stopping.",
        hint="Run it again; if that goes on, check that JetStream is enabled.",
    )
