"""Who runs this command."""

from __future__ import annotations

import getpass
import socket

_UNKNOWN = "unknown"


def local_actor() -> str:
    """``user@host`` of this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = _UNKNOWN
    return f"{user}@{socket.gethostname() or _UNKNOWN}"
