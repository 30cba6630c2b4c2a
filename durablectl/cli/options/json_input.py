"""Reading ``--input`` and ``--data``: JSON as an argument, from a file, or from standard input."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from durablectl.errors import InvalidValueError

_AROUND = 20


def read_input(given: str | None, option: str = "--input") -> Any:
    """The value of JSON text, ``@file`` or ``-``; None for None. InvalidValueError says where it broke."""
    if given is None:
        return None
    if given == "-":
        source = "standard input"
        return _parse(_text(sys.stdin.buffer.read(), source, option), source, option)
    if given.startswith("@"):
        return _parse(_from_file(given[1:], option), f"the file {given[1:]}", option)
    return _parse(given, "", option)


def _noun(option: str) -> str:
    return option.lstrip("-")


def _from_file(name: str, option: str) -> str:
    if not name:
        raise InvalidValueError(
            f"{option} @ names no file.", hint=f"Write {option} @{_noun(option)}.json, or {option} - to pipe it in."
        )
    try:
        return _text(Path(name).read_bytes(), f"the file {name}", option)
    except OSError as error:
        raise InvalidValueError(f"The {_noun(option)} file {name} cannot be read: {error.strerror}.") from error


def _text(data: bytes, source: str, option: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidValueError(
            f"The {_noun(option)} in {source} is not UTF-8: byte {error.start} is in the way."
        ) from error


def _parse(text: str, source: str, option: str) -> Any:
    what = f"The {_noun(option)}{f' in {source}' if source else ''}"
    if not text.strip():
        raise InvalidValueError(f"{what} is empty.", hint=f"Leave {option} out to give none.")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise InvalidValueError(
            f"{what} is not JSON: {_reason(error)} at {line}column {error.colno}{_near(text, error.pos)}.",
            hint="" if source else _hint(text, option),
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidValueError(f"{what} is not JSON: {reason}.") from error


def _reason(error: json.JSONDecodeError) -> str:
    return error.msg[:1].lower() + error.msg[1:]


def _near(text: str, position: int) -> str:
    rest = text[position : position + _AROUND].partition("\n")[0].strip()
    return f", near {rest!r}" if rest else ", at its end"


def _hint(text: str, option: str) -> str:
    if text.lstrip()[:1] in {"{", "[", '"'}:
        return f"Put single quotes around it, so that the shell leaves it as it is, or use {option} @file."
    return f"A string needs double quotes of its own: {option} {shlex.quote(json.dumps(text, ensure_ascii=False))}"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
