"""Values that cross a process: JSON and protobuf, encoded and back, and the words for what cannot be."""

from __future__ import annotations

import math

import pytest
from google.protobuf import struct_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.demo._proto.tickets_pb2 import ReserveRequest
from durablectl.errors import InvalidValueError
from durablectl.model.records import Payload
from durablectl.model.values import as_replayed, decode_value, encode_value, parameter_message, parse_message

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_round_trips(value):
    payload = encode_value(value, "the value")
    assert payload.type_name == ""
    again = decode_value(payload)
    assert again == value
    assert type(again) is type(value)
    assert as_replayed(value, payload) == value


@given(text)
def test_message_round_trips(name):
    message = HelloRequest(name=name)
    payload = encode_value(message, "the value")
    assert payload.type_name == "hello.HelloRequest"
    assert decode_value(payload) == decode_value(payload, HelloRequest) == message
    copy = as_replayed(message, payload)
    assert copy == message
    assert copy is not message


@pytest.mark.parametrize(
    ("value", "replayed"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": (1,)}, {"a": [1]}),
        ({1: "x", None: "y", False: "z"}, {"1": "x", "null": "y", "false": "z"}),
        (type("Text", (str,), {})("abc"), "abc"),
    ],
)
def test_first_run_sees_the_same_value_as_replay(value, replayed):
    payload = encode_value(value, "the value")
    first = as_replayed(value, payload)
    assert first == decode_value(payload) == replayed
    assert type(first) is type(replayed)


def test_none_is_the_absent_value_and_an_empty_message_is_not():
    assert encode_value(None, "the value") == Payload(b"", "")
    assert decode_value(Payload()) is None
    empty = encode_value(HelloRequest(), "the value")
    assert empty == Payload(b"", "hello.HelloRequest")
    assert decode_value(empty) == HelloRequest()


class Opaque:
    pass


circular: list = []
circular.append(circular)
deep: list = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        Opaque(),
        {"a": Opaque()},
        {1, 2},
        b"bytes",
        math.nan,
        -math.inf,
        [math.inf],
        circular,
        deep,
        "\ud800",
        {"\udfff": 1},
        10**5000,
        [HelloRequest(name="inside a list")],
        {(1, 2): 3},
    ],
    ids=lambda value: type(value).__name__,
)
def test_unserializable_value_is_refused_with_its_type(value):
    with pytest.raises(InvalidValueError) as caught:
        encode_value(value, "the result of step 2 'make_card'")
    assert caught.value.message.startswith(f"The result of step 2 'make_card' is a {type(value).__name__} that JSON")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ({1: "a", "1": "b"}, "1 and '1'"),
        ([{"deep": ({True: 0, "true": 1},)}], "True and 'true'"),
        ({"null": 0, None: 1}, "'null' and None"),
    ],
)
def test_dict_whose_keys_are_one_in_json_is_refused(value, keys):
    with pytest.raises(InvalidValueError, match=f"its keys {keys} are both"):
        encode_value(value, "the result")


def test_dict_with_keys_that_differ_in_json_is_encoded():
    assert encode_value({1: "a", 2: "b", "c": {None: 0}}, "the result").data == b'{"1":"a","2":"b","c":{"null":0}}'


def test_stored_bytes_that_are_not_json_are_refused():
    for data in (b"\x00\xff", b"{", b"\xc3("):
        with pytest.raises(InvalidValueError, match="not JSON"):
            decode_value(Payload(data))


def test_json_too_deep_to_read_is_refused_and_not_a_crash():
    with pytest.raises(InvalidValueError):
        decode_value(Payload(b"[" * 100_000 + b"]" * 100_000))


def test_a_message_is_not_taken_for_another():
    stored = encode_value(HelloRequest(name="a"), "the value")
    with pytest.raises(InvalidValueError, match=r"hello\.HelloRequest, but hello\.HelloResponse was asked for"):
        decode_value(stored, HelloResponse)


def test_truncated_bytes_are_refused_with_their_type():
    data = encode_value(HelloRequest(name="abcdef"), "the value").data
    with pytest.raises(InvalidValueError, match=r"hello\.HelloRequest"):
        decode_value(Payload(data[:-2], "hello.HelloRequest"))


def test_a_message_type_that_the_app_has_not_imported_is_named():
    with pytest.raises(InvalidValueError, match=r"elsewhere\.Unknown") as caught:
        decode_value(Payload(b"", "elsewhere.Unknown"))
    assert "Import its generated module" in caught.value.hint


def test_json_is_parsed_into_the_message_of_a_parameter():
    assert parse_message({"name": "x"}, HelloRequest) == HelloRequest(name="x")
    both_spellings = {"ticketId": "t", "user_id": "u"}
    assert parse_message(both_spellings, ReserveRequest) == ReserveRequest(ticket_id="t", user_id="u")
    assert decode_value(Payload(b'{"name":"x"}'), HelloRequest) == HelloRequest(name="x")


@pytest.mark.parametrize("value", [{"nme": "x"}, {"name": 1}, "text", 5, [1], True, None])
def test_json_that_is_not_the_messages_is_refused_and_shown(value):
    with pytest.raises(InvalidValueError, match=r"is not the JSON of a hello\.HelloRequest"):
        parse_message(value, HelloRequest)


def test_the_message_type_of_a_parameter():
    def with_message(ctx, request: HelloRequest): ...
    def plain(ctx, request: str): ...
    def bare(ctx, request): ...
    def union(ctx, request: HelloRequest | None): ...
    def unknown(ctx, request: Missing): ...  # noqa: F821 - as an app's import for type checking only leaves it

    found = [parameter_message(function, 1) for function in (with_message, plain, bare, union, unknown)]
    assert found == [HelloRequest, None, None, None, None]
    assert parameter_message(with_message, 2) is None


def test_well_known_types_are_messages_too():
    for message in (struct_pb2.Struct(), wrappers_pb2.StringValue(value="x")):
        message = encode_value(message, "the value")  # noqa: PLW2901 - one name is enough
        assert decode_value(message) is not None
