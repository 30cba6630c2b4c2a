"""Values that cross a process: JSON or protobuf messages, encoded to a Payload and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_type_hints

from durablectl.errors import DamagedValueError, InvalidValueError
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.text import leaves_of

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_DETAILS = 8 * 1024

_ATOMS = frozenset({str, int, float, bool, type(None)})
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def is_message(value: object) -> bool:
    """Whether ``value`` is a protobuf message, without importing protobuf."""
    return hasattr(value, "DESCRIPTOR") and hasattr(value, "SerializeToString")


def encode_value(value: Any, what: str) -> Payload:
    """Encode; InvalidValueError says ``what`` could not be held and why.

    ``what`` starts the sentence: "the result of step 2 'make_card'".
    """
    if value is None:
        return NO_PAYLOAD
    if is_message(value):
        return Payload(value.SerializeToString(), value.DESCRIPTOR.full_name)
    try:
        data = _dumps(value).encode()
        if type(value) not in _ATOMS:
            _check_keys(value)
        return Payload(data)
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidValueError(
            f"{what[:1].upper()}{what[1:]} is a {type(value).__name__} that JSON cannot hold: {error}.",
            hint="Use str, int, float, bool, None, list, dict, or a protobuf message.",
        ) from error


def _check_keys(value: Any) -> None:
    """Raise ValueError for a dict of which two keys are one in JSON: ``{1: ..., "1": ...}``."""
    containers = [value]
    while containers:
        each = containers.pop()
        if isinstance(each, dict):
            if any(type(key) is not str for key in each):
                _check_odd_keys(each)
            each = each.values()
        containers += [item for item in each if isinstance(item, dict | list | tuple)]


def _check_odd_keys(mapping: dict[Any, Any]) -> None:
    names: dict[str, Any] = {}
    for key in mapping:
        (name,) = json.loads(_dumps({key: None}))
        if name in names:
            message = f"its keys {names[name]!r} and {key!r} are both {json.dumps(name)} in JSON"
            raise ValueError(message)
        names[name] = key


def encode_details(error: BaseException, limit: int = LONGEST_DETAILS) -> bytes:
    """The ``details`` of an exception as JSON; nothing where it has none, or JSON cannot hold them in that limit."""
    (leaf, *others) = leaves_of(error)
    if others:
        return b""
    try:
        data = _dumps(leaf.details).encode()  # type: ignore[attr-defined]
        json.loads(data)
    except BaseException:  # noqa: BLE001 - an exception's own code may fail as well
        return b""
    return data if data != b"null" and len(data) <= min(limit, LONGEST_DETAILS) else b""


def decode_value(payload: Payload, message_type: type[Any] | None = None) -> Any:
    """Decode to the Python value; a protobuf message becomes ``message_type``, or the imported class of its name."""
    if payload.type_name:
        return _decode_message(payload, message_type)
    if not payload.data:
        return None
    try:
        value = json.loads(payload.data)
    except (ValueError, RecursionError) as error:
        raise DamagedValueError(f"A stored value of {len(payload.data)} bytes is not JSON: {error}.") from error
    return parse_message(value, message_type) if message_type is not None else value


def as_replayed(value: Any, payload: Payload) -> Any:
    """``value`` as a replay will see it: a tuple becomes a list, an int key a string, a message its own copy."""
    if type(value) in _ATOMS:
        return value
    return decode_value(payload, type(value) if payload.type_name else None)


def _decode_message(payload: Payload, message_type: type[Any] | None) -> Any:
    cls = message_type if message_type is not None else _imported_class(payload.type_name)
    if cls.DESCRIPTOR.full_name != payload.type_name:
        raise InvalidValueError(
            f"A stored value is a {payload.type_name}, but {cls.DESCRIPTOR.full_name} was asked for."
        )
    from google.protobuf.message import DecodeError

    try:
        return cls.FromString(payload.data)
    except DecodeError as error:
        size = len(payload.data)
        raise DamagedValueError(f"A stored value of {size} bytes is not a {payload.type_name}: {error}.") from error


def _imported_class(type_name: str) -> Any:
    from google.protobuf import descriptor_pool, message_factory

    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
    except KeyError as error:
        raise InvalidValueError(
            f"A stored value is a protobuf message {type_name}, which this app has not imported.",
            hint="Import its generated module in the app.",
        ) from error
    return message_factory.GetMessageClass(descriptor)


def parse_message(value: Any, message_type: type[Any]) -> Any:
    """The message of which ``value`` is the protobuf JSON mapping."""
    from google.protobuf import json_format

    try:
        return json_format.ParseDict(value, message_type())
    except (json_format.ParseError, TypeError, AttributeError) as error:
        name = message_type.DESCRIPTOR.full_name
        raise InvalidValueError(f"{json.dumps(value)[:200]} is not the JSON of a {name}: {error}.") from error


def parameter_message(function: Callable[..., Any], index: int) -> type[Any] | None:
    """The protobuf class with which parameter ``index`` of ``function`` is annotated, if it is one."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if index >= len(names):
        return None
    try:
        hint = get_type_hints(function).get(names[index])
    except Exception:  # noqa: BLE001 - an annotation is the user's code: one that cannot be evaluated tells nothing
        return None
    return hint if isinstance(hint, type) and is_message(hint) else None


def message_to_json(message: Any) -> Any:
    """A message in its protobuf JSON mapping."""
    from google.protobuf import json_format

    return json_format.MessageToDict(message)
