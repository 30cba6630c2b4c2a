"""Names that become subject tokens are validated here, at every door."""

from __future__ import annotations

import re

from durablectl.errors import InvalidNameError

MAX_NAME_LENGTH = 128
RESERVED_IDS = frozenset({"active", "stats"})
SYSTEM_PREFIX = "durablectl-"
"""Handlers of this prefix belong to durablectl itself: no app registers them, and lists show them only when asked."""
JOB_HANDLER = f"{SYSTEM_PREFIX}job"
"""The workflow that carries out a bulk operation."""

_VALID = re.compile(r"[A-Za-z0-9_=-]{1,128}\Z")
_VALID_CHARACTER = re.compile(r"[A-Za-z0-9_=-]")
_ALLOWED = "Use letters, digits, '-', '_' and '=', 1 to 128 of them"


def is_name(text: str) -> bool:
    """Whether validate_name takes it."""
    return _VALID.match(text) is not None


def validate_name(what: str, name: str) -> str:
    """Return ``name`` unchanged, or raise InvalidNameError naming the offending character.

    ``what`` says in the message what the name is for: "invocation id", "handler", "partition key".
    """
    if _VALID.match(name):
        return name
    if not name:
        raise InvalidNameError(f"The {what} is empty.", hint=f"{_ALLOWED}.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"The {what} has {len(name)} characters.", hint=f"{_ALLOWED}.")
    character = next(c for c in name if not _VALID_CHARACTER.match(c))
    shown = repr(character) if character.isprintable() else f"U+{ord(character):04X}"
    raise InvalidNameError(
        f"The {what} {name!r} holds the character {shown}, which is not allowed.", hint=f"{_ALLOWED}."
    )


def validate_new_name(what: str, name: str) -> str:
    """As validate_name, for what is given its name now; also refuses what a command line takes for an option.

    What has such a name already can be named behind ``--``.
    """
    if name.startswith("-"):
        raise InvalidNameError(
            f"The {what} {name!r} begins with '-', and every command would take it for an option.",
            hint="Begin it with a letter, a digit, '_' or '='.",
        )
    return validate_name(what, name)


def validate_new_invocation_id(invocation_id: str) -> str:
    """As validate_new_name; also refuses the ids that are routes of the HTTP API."""
    return validate_invocation_id(validate_new_name("invocation id", invocation_id))


def validate_invocation_id(invocation_id: str) -> str:
    """As validate_name; also refuses the ids that are routes of the HTTP API."""
    validate_name("invocation id", invocation_id)
    if invocation_id in RESERVED_IDS:
        raise InvalidNameError(f"The invocation id {invocation_id!r} is reserved.", hint="Choose another id.")
    return invocation_id


def is_system_handler(handler: str) -> bool:
    """Whether a handler is durablectl's own."""
    return handler.startswith(SYSTEM_PREFIX)


def validate_app_handler(what: str, handler: str) -> str:
    """As validate_new_name; also refuses the handlers that are durablectl's own."""
    validate_new_name(what, handler)
    if is_system_handler(handler):
        raise InvalidNameError(
            f"The {what} {handler!r} is reserved: names that begin with {SYSTEM_PREFIX} are durablectl's own.",
            hint="Choose another name.",
        )
    return handler


def new_invocation_id() -> str:
    """Random, 20 lower-case hexadecimal digits in four groups, easy to read out over a telephone."""
    import secrets  # Most commands only check names.

    text = secrets.token_hex(10)
    return "-".join(text[i : i + 5] for i in range(0, 20, 5))


def awakeable_id_of(invocation_id: str, name: str, count: int) -> str:
    """The id of the ``count``-th awakeable of that name: it holds the invocation id, so that it is found at once."""
    return f"{invocation_id}.{name}" if count == 1 else f"{invocation_id}.{name}.{count}"


def invocation_of_awakeable(awakeable_id: str) -> str:
    """The invocation that an awakeable belongs to; InvalidNameError for what is not an awakeable id."""
    invocation_id, _, rest = awakeable_id.partition(".")
    name, _, count = rest.partition(".")
    if not rest or (count and not count.isdigit()):
        raise InvalidNameError(
            f"{awakeable_id!r} is not an awakeable id.", hint="It has the form <invocation id>.<name>; see `wf get`."
        )
    validate_name("awakeable name", name)
    return validate_name("invocation id", invocation_id)
