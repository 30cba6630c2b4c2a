"""Reading ``--input``: JSON as an argument, from a file, or from standard input."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from durablectl.errors import InvalidValueError

_AROUND = 20


def read_input(given: str | None) -> Any:
    """The value of JSON text, ``@file`` or ``-``; None for None. InvalidValueError says where it broke."""
    if given is None:
        return None
    if given == "-":
        return _parse(_text(sys.stdin.buffer.read(), "standard input"), "standard input")
    if given.startswith("@"):
        return _parse(_from_file(given[1:]), f"the file {given[1:]}")
    return _parse(given, "")


def _from_file(name: str) -> str:
    if not name:
        raise InvalidValueError(
            "--input @ names no file.", hint="Write --input @input.json, or --input - to pipe it in."
        )
    try:
        return _text(Path(name).read_bytes(), f"the file {name}")
    except OSError as error:
        raise InvalidValueError(f"The input file {name} cannot be read: {error.strerror}.") from error


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"The input in {source} is not UTF-8: byte {error.start} is in the way.") from error


def _parse(text: str, source: str) -> Any:
    where = f" in {source}" if source else ""
    if not text.strip():
        raise InvalidValueError(f"The input{where} is empty.", hint="Leave --input out to start without an input.")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise InvalidValueError(
            f"The input{where} is not JSON: {_reason(error)} at {line}column {error.colno}{_near(text, error.pos)}.",
            hint="" if source else _hint(text),
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidValueError(f"The input{where} is not JSON: {reason}.") from error


def _reason(error: json.JSONDecodeError) -> str:
    return error.msg[:1].lower() + error.msg[1:]


def _near(text: str, position: int) -> str:
    rest = text[position : position + _AROUND].partition("\n")[0].strip()
    return f", near {rest!r}" if rest else ", at its end"


def _hint(text: str) -> str:
    if text.lstrip()[:1] in {"{", "[", '"'}:
        return "Put single quotes around it, so that the shell leaves it as it is, or use --input @file."
    return f"A string needs double quotes of its own: --input {shlex.quote(json.dumps(text, ensure_ascii=False))}"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
