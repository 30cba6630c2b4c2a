"""Text from outside, made fit to be stored: whatever an app raises or an operator types."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_ERROR = 8 * 1024
LONGEST_NAME = 500

_SHOWN_LEAVES = 10


def storable(text: str, limit: int | None = LONGEST_ERROR) -> str:
    """At most ``limit`` characters, if that is given, and none that UTF-8 cannot hold."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with a space behind it, for the hint about a word that is not known; empty where none is alike."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {close[0]!r}? " if close else ""


def message_of(error: BaseException, limit: int = LONGEST_ERROR) -> str:
    """What an exception says, or its class where it says nothing or cannot be printed; of a group, what its leaves say.

    "2 errors: KeyError: 'a'; StepError: Step 1 'pay' failed: no". The leaves are sorted: which of them failed first
    differs from run to run.
    """
    leaves = leaves_of(error)
    if len(leaves) > 1:
        said = sorted(f"{type(leaf).__name__}: {message_of(leaf, limit)}" for leaf in leaves)
        more = f"; and {len(said) - _SHOWN_LEAVES} more" if len(said) > _SHOWN_LEAVES else ""
        return storable(f"{len(said)} errors: {'; '.join(said[:_SHOWN_LEAVES])}{more}", limit)
    try:
        text = str(leaves[0])
    except BaseException:  # noqa: BLE001 - an exception's own code may fail as well
        text = ""
    return storable(text, limit) or type(leaves[0]).__name__


def type_of(error: BaseException) -> str:
    """The class of an exception; of a group, the classes of its leaves, each once: "KeyError, StepError"."""
    return ", ".join(sorted({type(leaf).__name__ for leaf in leaves_of(error)}))


def class_of(error: BaseException) -> str:
    """The class of an exception with its module; without, for one of Python's own. Of a group as ``type_of``."""
    names = {_qualified(type(leaf)) for leaf in leaves_of(error)}
    return storable(", ".join(sorted(names)), LONGEST_NAME)


def _qualified(kind: type) -> str:
    name = str(kind.__qualname__)
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def leaves_of(error: BaseException) -> list[BaseException]:
    """The exceptions in a group and in the groups in it; any other exception alone."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves_of(each)]
