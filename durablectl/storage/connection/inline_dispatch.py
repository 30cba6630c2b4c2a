"""Taking the messages of a subscription while the connection is being read."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg

_log = logging.getLogger(__name__)


class InlineDispatch(asyncio.Future[Any]):
    """The ``future`` argument of nats-py's ``subscribe``: passes each message to ``take`` and is never done.

    A subscription with a callback has a queue and a task of its own: on the hot path that costs as much as the message
    itself, and a turn of the event loop. ``take`` must not block; nothing limits the number of messages.
    """

    def __init__(self, take: Callable[[Msg], None]) -> None:
        super().__init__()
        self._take = take

    def set_result(self, message: Msg) -> None:
        """Pass a message on. An exception is logged: raised here, it would end the connection's reading."""
        try:
            self._take(message)
        except Exception:  # noqa: BLE001 - of whatever kind
            _log.exception("A bug in durablectl: a message on %s was not processed.", message.subject)
