"""Who changed what: the actor of a change, and the record that is kept of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from durablectl.errors import UnreadableError
from durablectl.model.clock import to_rfc3339
from durablectl.model.text import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

CLI, SDK, HTTP, JOB = "cli", "sdk", "http", "job"
"""By which way a change came."""

_LONGEST_TEXT = 1000
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Actor:
    """Who makes changes: ``name`` is user@host, or the user of an HTTP request; ``address`` is where that came from."""

    name: str
    via: str = SDK
    address: str = ""


VIA: ContextVar[str] = ContextVar("VIA", default=SDK)
"""By which way changes of this process come, where no actor is set."""

ACTOR: ContextVar[Actor | None] = ContextVar("ACTOR", default=None)
"""Who makes the changes of this task; None for the user of this process."""


def current_actor() -> Actor:
    """Who makes the changes of this task."""
    return ACTOR.get() or Actor(local_user(), VIA.get())


def local_user() -> str:
    """The user of this process and its machine, ``ann@laptop``."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on; there may be no entry for the user id
        user = _UNKNOWN
    return f"{user}@{socket.gethostname() or _UNKNOWN}"


@dataclass(frozen=True)
class AuditRecord:
    """One change that was asked for.

    ``at`` is in microseconds, by the NATS server's clock once it is stored. ``action`` is a word such as "cancel" or
    "schedule.pause". ``nats_user`` is the user, credentials file or NATS context of the connection. ``target`` names
    what is no workflow: a schedule, say. ``refused`` is the error's code where the change was refused after all.
    """

    action: str
    actor: Actor
    at: int = 0
    nats_user: str = ""
    invocation_id: str = ""
    handler: str = ""
    target: str = ""
    reason: str = ""
    refused: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "at": to_rfc3339(self.at),
            "action": self.action,
            "actor": storable(self.actor.name, _LONGEST_TEXT),
            "via": self.actor.via,
            "address": self.actor.address or None,
            "nats_user": storable(self.nats_user, _LONGEST_TEXT) or None,
            "invocation_id": self.invocation_id or None,
            "handler": self.handler or None,
            "target": self.target or None,
            "reason": storable(self.reason, _LONGEST_TEXT) or None,
            "refused": self.refused or None,
            "details": {
                name: storable(value, _LONGEST_TEXT) if isinstance(value, str) else value
                for name, value in self.details.items()
            },
        }

    @classmethod
    def from_json(cls, value: Any, at: int) -> AuditRecord:
        """Read a stored record, that of a later version too. Raises UnreadableError."""
        if not isinstance(value, dict):
            raise UnreadableError("An audit record is no JSON object.")

        def text(name: str) -> str:
            found = value.get(name)
            return found if isinstance(found, str) else ""

        details = value.get("details")
        return cls(
            action=text("action"),
            actor=Actor(text("actor"), text("via"), text("address")),
            at=at,
            nats_user=text("nats_user"),
            invocation_id=text("invocation_id"),
            handler=text("handler"),
            target=text("target"),
            reason=text("reason"),
            refused=text("refused"),
            details=details if isinstance(details, dict) else {},
        )
