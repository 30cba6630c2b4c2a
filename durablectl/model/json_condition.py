"""Conditions on JSON values in a subset of jq: ``.user == "u1" and (.items[].amount > 100 or .vip)``.

Paths (``.a.b``, ``.a["b c"]``, ``.items[0]``, ``.items[]``), JSON values, ``== != < <= > >=``, ``and``, ``or``,
``not``, ``|``, ``contains()``, ``startswith()``, ``endswith()``, ``has()`` and ``length``. As in jq, a path that leads
nowhere is null, and ``[]`` gives each element: the condition holds if it does for one of them. Unlike jq, a path into
a value that has none is null instead of an error, and ``<`` holds between two numbers or two texts only.
"""

from __future__ import annotations

import json
import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from durablectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Filter = Callable[[Any], Iterator[Any]]
    """Any number of results of one value."""

_TOKENS = re.compile(
    r"""\s*(?:
        (?P<text> "(?:[^"\\]|\\.)*" )
      | (?P<number> -?\d+(?:\.\d+)?(?:[eE][-+]?\d+)? )
      | (?P<field> \.[A-Za-z_][A-Za-z0-9_]* )
      | (?P<operator> == | != | <= | >= | [<>()\[\]|.{},:] )
      | (?P<word> [A-Za-z_]+ )
    )""",
    re.VERBOSE,
)
_ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COMPARISONS = {"==", "!=", *_ORDERED}
_CONSTANTS = {"true": True, "false": False, "null": None}
_HINT = (
    "Write a condition as for jq, such as '.user == \"u1\"', '.amount > 100 and .paid' or '.tags | contains(\"new\")'; "
    "see `durablectl help filters`."
)
_DEEPEST = 50
_MOST_TOKENS = 200
"""Every part nests in the one before when the condition is tested."""
_MOST_DIGITS = 18
_SHOWN = 200


@lru_cache(maxsize=64)
def parse_condition(text: str) -> Callable[[Any], bool]:
    """The test that ``text`` states of a JSON value. UsageError says what cannot be read, and where."""
    parser = _Parser(text)
    found = parser.pipe()
    if parser.token:
        raise parser.error(f"{parser.token!r} is not expected there")
    return lambda value: any(_is_true(each) for each in found(value))


def _is_true(value: Any) -> bool:
    return value is not None and value is not False


class _Parser:
    """Recursive descent; each rule returns the filter that it has read. ``token`` is the next one, "" at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = 0
        self._at = 0
        self._depth = 0
        self._count = 0
        self.kind = self.token = ""
        self._advance()

    def error(self, problem: str) -> UsageError:
        return UsageError(
            f"The condition {self._text[:_SHOWN]!r} cannot be read at character {self._at + 1}: {problem}.", hint=_HINT
        )

    def _advance(self) -> str:
        before = self.token
        self._count += 1
        if self._count > _MOST_TOKENS:
            raise self.error(f"it has more than {_MOST_TOKENS} parts")
        rest = self._text[self._next :]
        self._at = self._next + len(rest) - len(rest.lstrip())
        match = _TOKENS.match(self._text, self._next)
        if match is None:
            if rest.strip():
                self.kind, self.token = "", ""
                raise self.error(f"{rest.strip()[0]!r} is not expected there")
            self.kind = self.token = ""
        else:
            self.kind = match.lastgroup or ""
            self.token = match[self.kind]
            self._next = match.end()
        return before

    def _is_at(self, token: str) -> bool:
        return self.token == token and self.kind not in {"text", ""}

    def _take(self, token: str) -> bool:
        if not self._is_at(token):
            return False
        self._advance()
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self.error(
                f"{token!r} is missing" if not self.token else f"{token!r} is expected, not {self.token!r}"
            )

    def pipe(self) -> Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.error("it nests too deep")
        found = self._any()
        while self._take("|"):
            found = _piped(found, self._any())
        self._depth -= 1
        return found

    def _any(self) -> Filter:
        found = self._all()
        while self._take("or"):
            found = _either(found, self._all())
        return found

    def _all(self) -> Filter:
        found = self._comparison()
        while self._take("and"):
            found = _both(found, self._comparison())
        return found

    def _comparison(self) -> Filter:
        found = self._path()
        if self.kind == "operator" and self.token in _COMPARISONS:
            found = _compared(found, self._advance(), self._path())
            if self.kind == "operator" and self.token in _COMPARISONS:
                raise self.error("comparisons cannot be chained; use 'and'")
        return found

    def _path(self) -> Filter:
        found = self._term()
        while True:
            if self.kind == "field":
                found = _piped(found, _field(self._advance()[1:]))
            elif self._is_at("["):
                found = _piped(found, self._index())
            elif self._is_at("."):
                self._advance()
                if not self._is_at("["):
                    found = _piped(found, _field(self._text_value()))
            else:
                return found

    def _index(self) -> Filter:
        self._expect("[")
        if self._take("]"):
            return _each
        if self.kind == "text":
            found = _field(self._text_value())
        elif self.kind == "number" and self.token.lstrip("-").isdigit() and len(self.token) <= _MOST_DIGITS:
            found = _element(int(self._advance()))
        else:
            raise self.error("a number, a text or ']' is expected")
        self._expect("]")
        return found

    def _term(self) -> Filter:
        if self.kind == "field":
            return _field(self._advance()[1:])
        if self._take("."):
            return _field(self._text_value()) if self.kind == "text" else _itself
        if self._take("("):
            found = self.pipe()
            self._expect(")")
            return found
        if self.kind == "word" and self.token not in _CONSTANTS:
            return self._function()
        return _constant(self._value())

    def _function(self) -> Filter:
        name = self._advance()
        if name == "not":
            return lambda value: iter([not _is_true(value)])
        if name == "length":
            return _length
        known = _FUNCTIONS.get(name)
        if known is None:
            raise self.error(f"there is no {name!r} here; use {', '.join(['not', 'length', *_FUNCTIONS])}")
        self._expect("(")
        argument = self.pipe()
        self._expect(")")
        return lambda value: (known(value, each) for each in argument(value))

    def _text_value(self) -> str:
        if self.kind != "text":
            raise self.error("a name is expected")
        return str(self._value())

    def _value(self) -> Any:
        """A JSON value."""
        if self.kind in {"text", "number"}:
            token = self.token
            try:
                value = json.loads(token)
            except ValueError:
                raise self.error(f"{token} is not JSON") from None
            self._advance()
            return value
        if self.kind == "word" and self.token in _CONSTANTS:
            return _CONSTANTS[self._advance()]
        if self._take("["):
            return self._items("]", self._value)
        if self._take("{"):
            return dict(self._items("}", self._member))
        raise self.error(
            "a path or a value is expected" if self.token else "it ends where a path or a value is expected"
        )

    def _member(self) -> tuple[str, Any]:
        key = self._text_value()
        self._expect(":")
        return key, self._value()

    def _items(self, end: str, read: Callable[[], Any]) -> list[Any]:
        found: list[Any] = []
        while not self._take(end):
            if found:
                self._expect(",")
            found.append(read())
        return found


def _itself(value: Any) -> Iterator[Any]:
    yield value


def _constant(value: Any) -> Filter:
    return lambda _: iter([value])


def _field(name: str) -> Filter:
    return lambda value: iter([value.get(name) if isinstance(value, dict) else None])


def _element(number: int) -> Filter:
    def find(value: Any) -> Iterator[Any]:
        is_there = isinstance(value, list) and -len(value) <= number < len(value)
        yield value[number] if is_there else None

    return find


def _each(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _piped(first: Filter, second: Filter) -> Filter:
    return lambda value: (result for each in first(value) for result in second(each))


def _both(first: Filter, second: Filter) -> Filter:
    return lambda value: (
        _is_true(one) and _is_true(other)
        for one in first(value)
        for other in (second(value) if _is_true(one) else [one])
    )


def _either(first: Filter, second: Filter) -> Filter:
    return lambda value: (
        _is_true(one) or _is_true(other)
        for one in first(value)
        for other in ([one] if _is_true(one) else second(value))
    )


def _compared(first: Filter, sign: str, second: Filter) -> Filter:
    return lambda value: (_compare(one, sign, other) for other in second(value) for one in first(value))


def _compare(one: Any, sign: str, other: Any) -> bool:
    if sign in {"==", "!="}:
        return _equal(one, other) == (sign == "==")
    are_comparable = (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))
    return are_comparable and bool(_ORDERED[sign](one, other))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(one: Any, other: Any) -> bool:
    """JSON tells true from 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _length(value: Any) -> Iterator[Any]:
    if value is None:
        yield 0
    elif isinstance(value, (str, list, dict)):
        yield len(value)
    else:
        yield abs(value) if _is_number(value) else None


def _contains(value: Any, part: Any) -> bool:
    """A part of a text, an element of a list, or as in jq: every part is contained in some element or field."""
    if isinstance(value, str) and isinstance(part, str):
        return part in value
    if isinstance(value, list):
        parts = part if isinstance(part, list) else [part]
        return all(any(_contains(each, wanted) for each in value) for wanted in parts)
    if isinstance(value, dict) and isinstance(part, dict):
        return all(key in value and _contains(value[key], wanted) for key, wanted in part.items())
    return _equal(value, part)


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and type(key) is int and 0 <= key < len(value)


def _starts(value: Any, part: Any) -> bool:
    return isinstance(value, str) and isinstance(part, str) and value.startswith(part)


def _ends(value: Any, part: Any) -> bool:
    return isinstance(value, str) and isinstance(part, str) and value.endswith(part)


_FUNCTIONS: dict[str, Callable[[Any, Any], bool]] = {
    "contains": _contains,
    "startswith": _starts,
    "endswith": _ends,
    "has": _has,
}
