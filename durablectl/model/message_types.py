"""Protobuf message types kept beside the data, so that any reader can show a stored message as JSON.

What a list without such messages does not need of protobuf is imported late.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

    from durablectl.model.records import Payload

_LENGTH_DELIMITED = 2
_DEEPEST = 16


def describe(message_type: type[Any]) -> bytes:
    """The FileDescriptorSet of a message class, dependencies first: what Schemas.add takes."""
    from google.protobuf import descriptor_pb2

    files: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                visit(dependency)
            files[file.name] = file

    visit(message_type.DESCRIPTOR.file)
    result = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(result.file.add())
    return result.SerializeToString(deterministic=True)


class Schemas:
    """Message types by full name, each in a pool of its own so that two apps' files of one name do not clash."""

    def __init__(self) -> None:
        self._classes: dict[str, Any] = {}

    def add(self, type_name: str, descriptor_set: bytes) -> None:
        """Learn a type; a description that cannot be read leaves the type unknown."""
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        pool = descriptor_pool.DescriptorPool()
        try:
            for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
                pool.Add(file)
            descriptor = pool.FindMessageTypeByName(type_name)
        except (DecodeError, TypeError, KeyError):
            return
        self._classes[type_name] = message_factory.GetMessageClass(descriptor)

    def to_json(self, payload: Payload) -> Any:
        """The value as JSON data: a message in its protobuf JSON mapping, never base64.

        Bytes of unknown type, as other implementations may write them, are shown as JSON if they are JSON, else as text
        if they are printable, else by protobuf field number, else in hexadecimal.
        """
        data, type_name = payload
        if not data and not type_name:
            return None
        cls = self._classes.get(type_name)
        if cls is not None:
            from google.protobuf import json_format

            try:
                shown = json_format.MessageToDict(cls.FromString(data), always_print_fields_with_no_presence=True)
                return _checked(shown)
            except (DecodeError, json_format.Error, ValueError, TypeError, RecursionError):
                pass  # Cut short, or its own mapping cannot hold it: shown as what it is.
        if type_name:
            fields = _by_field_number(data)
            if fields is not None:
                return fields
        return _guess(data)


def _checked(value: Any) -> Any:
    """ValueError or RecursionError for what strict JSON in UTF-8 cannot hold: NaN, lone surrogates, endless nesting."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def _guess(data: bytes, depth: int = 0) -> Any:
    try:
        return _checked(json.loads(data))
    except (ValueError, RecursionError):
        pass
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and text.isprintable():
        return text
    fields = _by_field_number(data, depth)
    if fields is not None:
        return fields
    return text if text is not None else data.hex()


def _by_field_number(data: bytes, depth: int = 0) -> dict[str, Any] | None:
    """None for what is not a protobuf message, and for what nests too deep to be worth showing so."""
    from google.protobuf import unknown_fields
    from google.protobuf.empty_pb2 import Empty

    message = Empty()
    if depth > _DEEPEST:
        return None
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    result: dict[str, Any] = {}
    for unknown in unknown_fields.UnknownFieldSet(message):  # type: ignore[attr-defined]  # typeshed lacks __iter__
        key, value = str(unknown.field_number), unknown.data
        if unknown.wire_type == _LENGTH_DELIMITED:
            value = _guess(value, depth + 1) if value else ""
        elif not isinstance(value, int):
            return None
        if key not in result:
            result[key] = value
        elif isinstance(result[key], list):
            result[key].append(value)
        else:
            result[key] = [result[key], value]
    return result
