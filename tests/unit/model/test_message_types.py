"""How stored values are shown: messages by their description, foreign bytes as well as they can be, never base64."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest
from google.protobuf import any_pb2, struct_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from durablectl.demo._proto.hello_pb2 import HelloRequest
from durablectl.demo._proto.tickets_pb2 import ReserveResponse
from durablectl.model.message_types import Schemas, describe
from durablectl.model.records import Payload


def described(*types: type) -> Schemas:
    schemas = Schemas()
    for one in types:
        schemas.add(one.DESCRIPTOR.full_name, describe(one))
    return schemas


def message(value) -> Payload:
    return Payload(value.SerializeToString(), value.DESCRIPTOR.full_name)


def shown(payload: Payload, *types: type):
    """What a reader sees; it must be JSON that any tool can read and any terminal print."""
    value = described(*types).to_json(payload)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    return value


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        size, length = len(data), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        data = b"\x0a" + bytes([*length, size]) + data
    return data


def test_a_described_message_is_shown_in_its_json_mapping():
    assert shown(message(HelloRequest(name="Ada")), HelloRequest) == {"name": "Ada"}
    assert shown(message(ReserveResponse(reserved=True, reservation_id="r")), ReserveResponse) == {
        "reserved": True,
        "reservationId": "r",
    }
    stamp = timestamp_pb2.Timestamp(seconds=1_700_000_000)
    assert shown(message(stamp), timestamp_pb2.Timestamp) == "2023-11-14T22:13:20Z"


def test_fields_at_their_default_are_shown():
    assert shown(message(ReserveResponse()), ReserveResponse) == {"reserved": False, "reservationId": ""}


def test_an_undescribed_message_is_shown_by_field_number():
    assert shown(message(HelloRequest(name="Ada"))) == {"1": "Ada"}
    assert shown(message(ReserveResponse(reserved=True))) == {"1": 1}
    assert shown(message(HelloRequest())) == {}
    assert shown(Payload(b"\x0a\x01a\x0a\x01b", "x.Y")) == {"1": ["a", "b"]}


def test_nothing_is_null_and_json_is_json():
    assert shown(Payload()) is None
    assert shown(Payload(b'{"a":[1,null]}')) == {"a": [1, None]}
    assert shown(Payload(b"0")) == 0


def test_foreign_text_is_text_and_foreign_bytes_are_hexadecimal():
    assert shown(Payload("Grüße".encode())) == "Grüße"
    assert shown(Payload(b"\xff\xfe\xfd\xfc")) == "fffefdfc"


@given(st.binary(min_size=1, max_size=80), st.sampled_from(["", "other.Type", "hello.HelloRequest"]))
def test_any_bytes_are_shown_as_json_and_never_as_base64(data, type_name):
    text = json.dumps(shown(Payload(data, type_name), HelloRequest))
    encoded = base64.b64encode(data).decode()
    if len(data) > 8 and encoded.encode() not in data and not encoded.rstrip("=").isdigit():
        assert encoded not in text


@pytest.mark.parametrize(
    "data",
    [
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b'"\\ud800"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"1" * 5000,
        nested(300),
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
@pytest.mark.parametrize("type_name", ["", "other.Type"])
def test_invalid_json_lookalike_is_harmless(data, type_name):
    assert shown(Payload(data, type_name)) is not None


def test_deeply_nested_bytes_do_not_kill_the_reader():
    """6 kB that nest 2,000 levels; without a limit the interpreter itself dies."""
    program = (
        "import sys; from durablectl.model.records import Payload; from durablectl.model.message_types import Schemas;"
        "print(type(Schemas().to_json(Payload(sys.stdin.buffer.read()))).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=nested(2000), capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()[-300:]) == (0, "")
    assert done.stdout.decode().strip() in {"str", "dict"}


def test_a_message_that_its_own_mapping_cannot_hold_is_still_shown():
    assert shown(message(timestamp_pb2.Timestamp(seconds=10**15)), timestamp_pb2.Timestamp) is not None
    unknown = any_pb2.Any(type_url="type.googleapis.com/not.Known", value=b"\x01")
    assert shown(message(unknown), any_pb2.Any) is not None
    not_json = struct_pb2.Value(number_value=float("nan"))
    assert shown(message(not_json), struct_pb2.Value) is not None


def test_a_description_that_cannot_be_read_leaves_the_type_unknown():
    schemas = Schemas()
    schemas.add("hello.HelloRequest", b"\xff\xff")
    schemas.add("hello.Other", describe(HelloRequest))
    schemas.add("hello.HelloRequest", b"")
    assert schemas.to_json(message(HelloRequest(name="x"))) == {"1": "x"}


def test_bytes_of_another_type_are_shown_raw():
    assert shown(Payload(b"\xff\xff\xff", "hello.HelloRequest"), HelloRequest) == "ffffff"


def test_two_apps_with_a_file_of_one_name_do_not_clash():
    schemas = described(HelloRequest)
    other = describe(HelloRequest).replace(b"HelloRequest", b"HelloReguest")
    schemas.add("hello.HelloReguest", other)
    assert schemas.to_json(Payload(b"\x0a\x01x", "hello.HelloReguest")) == {"name": "x"}
    assert schemas.to_json(Payload(b"\x0a\x01x", "hello.HelloRequest")) == {"name": "x"}
