"""Records to bytes and back: ours, those of other implementations, and bytes that are none."""

from __future__ import annotations

import builtins
import dataclasses
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durablectl._proto import durable_pb2 as pb
from durablectl.errors import StorageError
from durablectl.model.codec import (
    decode_command,
    decode_entry,
    decode_execution,
    encode_command,
    encode_entry,
    encode_execution,
)
from durablectl.model.records import (
    Command,
    Execution,
    FailedStep,
    JournalEntry,
    Payload,
    StepMismatch,
    SupersededEntry,
)
from durablectl.model.status import Status

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
int32 = st.integers(0, 2**31 - 1)
moments = st.integers(0, 2**62)
PLAIN = {
    str: text,
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    int: int32,
    Payload: st.builds(Payload, st.binary(max_size=40), text),
    SupersededEntry: st.builds(SupersededEntry, text, moments),
    FailedStep: st.builds(FailedStep, int32, text, int32),
    StepMismatch: st.builds(StepMismatch, int32, text, text, text, text, int32),
}
MOMENTS = {"until", "deadline", "command_sequence"}


def strategy_of(hint, name: str = "") -> st.SearchStrategy:
    """Of a field's type, so that a field that is added to a record is tested without a word here."""
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case builtins.list:
            return st.lists(strategy_of(arguments[0]), max_size=2)
        case builtins.dict:
            return st.dictionaries(text, strategy_of(arguments[1]), max_size=2)
        case types.UnionType:
            return st.none() | strategy_of(arguments[0])
    if name == "reason_code":
        # What this version writes with an error; a record that has none gets one when it is read.
        return text.filter(bool)
    if hint is int and (name in MOMENTS or name.endswith("_at")):
        return moments
    return PLAIN[hint] if hint in PLAIN else record(hint)


def record(cls, **changed: st.SearchStrategy) -> st.SearchStrategy:
    hints = typing.get_type_hints(cls)
    fields = {f.name: strategy_of(hints[f.name], f.name) for f in dataclasses.fields(cls) if f.name != "encoded"}
    return st.builds(cls, **{**fields, **changed})


entries = record(JournalEntry)
commands = record(Command, kind=text.filter(bool))
executions = record(
    Execution,
    invocation_id=text.filter(bool),
    status=text | st.sampled_from(Status),
    current_step=st.integers(-1, 10**9),
)


@given(commands)
def test_command_round_trips(command):
    assert decode_command(encode_command(command)) == command


@given(entries)
def test_journal_entry_round_trips(entry):
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert entry.encoded == data == decode_entry(data).encoded


@settings(max_examples=60)
@given(executions)
def test_execution_round_trips(execution):
    data = encode_execution(execution, [encode_entry(entry) for entry in execution.journal])
    assert decode_execution(data, execution.invocation_id) == execution


@settings(max_examples=60)
@given(executions, st.lists(entries, max_size=4), st.integers(0, 300))
def test_inlined_journal_decodes_like_one_encoded_with_the_record(execution, folded, length):
    """Lengths on both sides of one, two and three bytes of varint."""
    execution.journal = []
    folded = [*folded, JournalEntry(9, "long", response=Payload(b"x" * length * 70))]
    data = encode_execution(execution, [encode_entry(entry) for entry in folded])
    assert decode_execution(data, execution.invocation_id) == dataclasses.replace(execution, journal=folded)


def foreign_state(**fields) -> bytes:
    return pb.ExecutionState(handler="greet", status="running", **fields).SerializeToString()


def test_a_record_with_fields_1_to_9_only():
    data = pb.ExecutionState(
        invocation_id="f-1",
        handler="greet",
        journal=[pb.JournalEntry(step_number=0, step_type="A.B", request=b"\x0a\x01x", response=b"{}", error="")],
        current_state=b'{"done":true}',
        status="completed",
        current_step=-1,
        current_step_type="",
        workflow_state={"cart": b"[1]"},
        awakeables={"a": pb.AwakeableState(awakeable_id="a", invocation_id="f-1", resolved=True, result=b"1")},
    ).SerializeToString()
    execution = decode_execution(data, "f-1")
    assert (execution.invocation_id, execution.handler, execution.status) == ("f-1", "greet", "completed")
    assert execution.journal == [JournalEntry(0, "A.B", request=Payload(b"\x0a\x01x"), response=Payload(b"{}"))]
    assert execution.output == Payload(b'{"done":true}')
    assert execution.workflow_state == {"cart": Payload(b"[1]")}
    assert execution.awakeables["a"].resolved
    assert execution.waiting_for is None
    assert (execution.created_at, execution.attempt, execution.input) == (0, 0, Payload())


def test_a_record_that_does_not_name_itself_takes_the_name_of_its_key():
    assert decode_execution(foreign_state(), "the-key").invocation_id == "the-key"


def test_a_foreign_command_starts_a_workflow():
    data = pb.Command(invocation_id="f-1", handler="greet", service="S", args=b"1", partition_key="p", sequence=7)
    command = decode_command(data.SerializeToString())
    assert command == Command("f-1", "greet", "start", Payload(b"1"), "p")


def test_ours_reads_as_a_record_of_the_shared_fields():
    """What another implementation, which knows only fields 1 to 9, finds in ours."""
    state = {"k": Payload(b"2")}
    execution = Execution("id", "greet", "completed", output=Payload(b"1"), workflow_state=state, error="x")
    entry = JournalEntry(0, "A.B", "call", Payload(b"3"), Payload(b"4"))
    message = pb.ExecutionState.FromString(encode_execution(execution, [encode_entry(entry)]))
    shared = {field.number for field, _ in message.ListFields() if field.number < 10}
    assert shared == {1, 2, 3, 4, 5, 6, 8}
    assert (message.current_state, message.workflow_state["k"], message.current_step) == (b"1", b"2", -1)
    assert (message.journal[0].request, message.journal[0].response) == (b"3", b"4")


@pytest.mark.parametrize("decode", [decode_command, decode_entry, lambda data: decode_execution(data, "k")])
def test_bytes_that_are_no_record_are_a_storage_error(decode):
    for data in (b"\xff", b"not protobuf", b"\x0a\x05abc", b"\x12\x02\xff\xfe", b"\x0c"):
        with pytest.raises(StorageError) as caught:
            decode(data)
        assert f"its {len(data)} bytes are not a durable." in caught.value.message


@given(executions, st.data())
def test_torn_record_is_a_storage_error_or_a_shorter_record(execution, data):
    whole = encode_execution(execution)
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        decode_execution(torn, "k")
    except StorageError as error:
        assert error.message.startswith("The state of k cannot be read")  # noqa: PT017 - either outcome is right


@given(st.binary(max_size=60))
def test_random_bytes_never_raise_anything_else(data):
    for decode in (decode_command, decode_entry, lambda d: decode_execution(d, "k")):
        try:
            decode(data)
        except StorageError as error:
            assert "cannot be read" in error.message  # noqa: PT017 - either outcome is right
