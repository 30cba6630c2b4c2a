"""Who we are to the server: password, token, credentials file, NKey or JWT."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from durablectl.errors import DurableError, PermissionDeniedError
from durablectl.model.clock import MICROSECONDS, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.settings import Settings

_BLOCK = re.compile(r"-{3,} *BEGIN ([A-Z ]+?) *-{3,}\s+(\S+)\s+-{3,} *END")
_JWT, _SEED = "NATS USER JWT", "USER NKEY SEED"


class _Key(NamedTuple):
    """``jwt`` is empty for a bare NKey; ``source`` says where both were found."""

    seed: str
    jwt: str
    source: str


class Identity(NamedTuple):
    """What to show to a server, which takes what it asks for: user and password, a token, a JWT or an NKey that signs.

    ``public_key`` is that of a bare NKey. ``sign`` takes the server's nonce; None without a key.
    """

    user: str = ""
    password: str = ""
    token: str = ""
    jwt: str = ""
    public_key: str = ""
    sign: Callable[[str], bytes] | None = None


def read_identity(settings: Settings) -> Identity:
    """User and password, or token, of the URL before those of the settings; without a user also what signs.

    Files are read each time. Raises PermissionDeniedError for a file that holds no key.
    """
    user, password = _in_url(settings.url)
    if not user:
        user, password = settings.user, settings.password
    found = Identity()
    if user and password:
        found = Identity(user, password)
    elif user or settings.token:
        found = Identity(token=user or settings.token)
    if settings.user or not (settings.creds or settings.nkey or (settings.user_jwt and settings.user_seed)):
        return found
    key = _key(settings)
    pair = _pair(key)
    public_key = "" if key.jwt else pair.public_key.decode()
    pair.wipe()
    return found._replace(jwt=key.jwt, public_key=public_key, sign=lambda nonce: _signature(key, nonce))


def expired(settings: Settings) -> str:
    """A sentence if the JWT that was shown has run out by the clock of this machine; empty otherwise."""
    if settings.user:
        return ""
    with contextlib.suppress(DurableError, ValueError, IndexError, TypeError, AttributeError):
        key = _key(settings)
        claims = key.jwt.split(".")[1]
        ends = int(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).get("exp") or 0)
        if 0 < ends < time.time():
            return f"The JWT of {key.source} has expired at {to_rfc3339(ends * MICROSECONDS)}."
    return ""


def _in_url(urls: str) -> tuple[str, str]:
    """Of the first URL that names a user; percent signs are decoded, which nats-py leaves undone."""
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        if parts.username:
            return unquote(parts.username), unquote(parts.password or "")
    return "", ""


def _key(settings: Settings) -> _Key:
    if settings.creds:
        key = _of_creds(settings.creds)
    elif settings.nkey:
        key = _Key(_text(settings.nkey).strip(), "", f"the NKey file {settings.nkey}")
    else:
        key = _Key(settings.user_seed, settings.user_jwt, "the NATS context")
    _pair(key).wipe()
    return key


def _of_creds(path: str) -> _Key:
    blocks = dict(_BLOCK.findall(_text(path)))
    if missing := [name for name in (_JWT, _SEED) if name not in blocks]:
        raise PermissionDeniedError(
            f"The credentials file {path} has no {' and no '.join(missing)}.",
            hint="Make it anew with `nsc generate creds`, or ask whoever gave it to you.",
        )
    return _Key(blocks[_SEED], blocks[_JWT], f"the credentials file {path}")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PermissionDeniedError(f"The file {path} cannot be read: {error.strerror}.") from error


def _pair(key: _Key) -> Any:
    import nkeys  # type: ignore[import-untyped]

    try:
        return nkeys.from_seed(bytearray(key.seed.encode()))
    except (nkeys.NkeysError, ValueError):
        raise PermissionDeniedError(
            f"In {key.source} the seed of the key is damaged.", hint="A seed is one line that begins with SU."
        ) from None


def _signature(key: _Key, nonce: str) -> bytes:
    pair = _pair(key)
    try:
        return base64.b64encode(pair.sign(nonce.encode()))
    finally:
        pair.wipe()
