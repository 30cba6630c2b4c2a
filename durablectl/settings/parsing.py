"""Reading single values. A bad one is a ValueError with half a sentence; a bad namespace is an InvalidNameError."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from durablectl.errors import InvalidNameError
from durablectl.settings.connection_settings import without_credentials

_SCHEMES = ("nats", "tls", "ws", "wss")
_NAMESPACE_CHARACTER = re.compile(r"[A-Za-z0-9_-]")
_NAMESPACE_HINT = "In a namespace use letters, digits, '-' and '_', 1 to 64 of them."
_NAMESPACE_LENGTH = 64


def urls(text: str) -> str:
    """One or more server URLs, comma-separated; ``nats://`` is added where there is no scheme."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        message = "it names no server"
        raise ValueError(message)
    if not all(map(_is_url, parts)):
        many = "one of " if len(parts) > 1 else ""
        rule = "; in a password write / ? # @ , and % as %2F %3F %23 %40 %2C and %25" if "@" in text else ""
        message = f"{many}{without_credentials(text)!r} is not a NATS URL such as nats://127.0.0.1:4222{rule}"
        raise ValueError(message)
    return ",".join(map(_with_scheme, parts))


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"nats://{url}"


def _is_url(text: str) -> bool:
    try:
        split = urlsplit(_with_scheme(text))
        return split.scheme in _SCHEMES and bool(split.hostname) and (split.port is None or split.port > 0)
    except ValueError:
        return False


def namespace(text: str) -> str:
    """Unchanged, or InvalidNameError naming the offending character."""
    if len(text) > _NAMESPACE_LENGTH:
        raise InvalidNameError(f"The namespace has {len(text)} characters.", hint=_NAMESPACE_HINT)
    for character in text:
        if not _NAMESPACE_CHARACTER.fullmatch(character):
            shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
            raise InvalidNameError(
                f"The namespace {text!r} holds the character {shown}, which is not allowed.", hint=_NAMESPACE_HINT
            )
    return text
