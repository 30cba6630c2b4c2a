"""Any bytes and any string: a value, or an error that says so; never another exception, never without end."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, fields
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durablectl._proto import durable_pb2 as pb
from durablectl.errors import DurableError, InvalidNameError, InvalidValueError, UnreadableError
from durablectl.model.codec import decode_command, decode_entry, decode_execution, encode_entry, encode_execution
from durablectl.model.message_types import Schemas
from durablectl.model.names import invocation_of_awakeable
from durablectl.model.records import Command, Execution, Payload
from durablectl.model.schedules import Schedule
from durablectl.model.termination import interrupted_children, started_children
from durablectl.model.validation import check_command, is_valid
from durablectl.model.values import decode_value
from durablectl.query.list import read_cursor
from durablectl.query.view_builder import workflow_view
from durablectl.storage.index import index_entries
from durablectl.storage.index.comparison import parse_index_entry
from durablectl.storage.records import leases
from durablectl.storage.records.journal import JournalRange, parse_entry
from durablectl.storage.subjects import Subjects
from helpers.damage import full

SHORT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))

SUBJECTS = Subjects("fuzz")
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
WORDS = st.sampled_from(
    ["", "*", ">", "a.b", "a b", "x\r\nPUB y 0\r\n", "\x00", "\u0661", "9" * 50, "é" * 200, "child"]
)
TEXT = WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSONISH = st.sampled_from([b"", b"null", b"[]", b"{}", b"1e999", b"NaN", b'"\\ud800"', b"[" * 3000, b'{"a":' * 2000])
DATA = JSONISH | st.binary(max_size=40)


def messages(cls) -> st.SearchStrategy:
    """Messages of a type with anything in any field, so that the bytes pass the parser and what follows is met."""
    given_fields = {}
    for field in cls.DESCRIPTOR.fields:
        if field.message_type is not None:
            continue
        given_fields[field.name] = {
            field.TYPE_INT32: INT32,
            field.TYPE_INT64: INT64,
            field.TYPE_UINT64: st.integers(0, 2**64 - 1),
            field.TYPE_STRING: TEXT,
            field.TYPE_BYTES: DATA,
            field.TYPE_BOOL: st.booleans(),
        }[field.type]
    return st.fixed_dictionaries({}, optional=given_fields).map(lambda fields: cls(**fields))


ENTRIES = messages(pb.JournalEntry)
STATES = st.builds(
    lambda state, journal, waits, left, signals: pb.ExecutionState.FromString(
        state.SerializeToString()
        + pb.ExecutionState(journal=journal, waits=waits, left_behind=left, signals=signals).SerializeToString()
    ),
    messages(pb.ExecutionState),
    *(st.lists(messages(cls), max_size=2) for cls in (pb.JournalEntry, pb.Waiting, pb.IndexTime, pb.Signal)),
)
BYTES = st.binary(max_size=200)


def states() -> st.SearchStrategy[bytes]:
    cut = st.builds(lambda place, bit: _damaged(full("w-1"), place, bit), st.integers(0, 10_000), st.integers(-1, 7))
    return BYTES | cut | STATES.map(lambda message: message.SerializeToString())


def _damaged(data: bytes, place: int, bit: int) -> bytes:
    place %= len(data)
    return data[:place] if bit < 0 else data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def long_and_short(strategy: st.SearchStrategy):
    """The test with few examples, and as ``slow`` with many."""

    def decorate(check):
        @pytest.mark.parametrize(
            "size",
            [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
            ids=["short", "long"],
        )
        def test(size):
            size(given(strategy)(check))()

        return test

    return decorate


def shown(execution: Execution) -> None:
    part = JournalRange(execution.journal, 0, len(execution.journal))
    view = workflow_view(execution, 1, Schemas(), part)
    json.dumps(view.to_json(), allow_nan=False)


@long_and_short(states())
def test_any_state_record_is_shown_or_refused_and_valid_ones_written(data):
    try:
        execution = decode_execution(data, "w-1")
    except UnreadableError:
        return
    shown(execution)
    started_children(execution.journal)
    interrupted_children(execution.journal)
    if is_valid(execution):
        assert parse_index_entry(SUBJECTS, index_entries.index_subject(SUBJECTS, execution)) is not None
        for subject in index_entries.superseded_subjects(SUBJECTS, execution):
            assert not {*subject} & {*' "*>\r\n'}
    written = encode_execution(execution, [encode_entry(entry) for entry in execution.journal])
    again = decode_execution(written, "w-1")
    assert again == execution


@long_and_short(
    st.tuples(
        st.sampled_from(["0", "1", "007", "-1", "abc", "9" * 40, "\u0661", ""]),
        BYTES | ENTRIES.map(lambda m: m.SerializeToString()),
    )
)
def test_any_journal_entry(message):
    token, data = message
    try:
        entry = parse_entry(SUBJECTS.journal("w-1", token), data)
        decoded = decode_entry(data)
    except UnreadableError:
        return
    assert entry is None or str(entry.step_number) == token
    assert decode_entry(encode_entry(decoded)) == decoded


@long_and_short(BYTES | messages(pb.Command).map(lambda message: message.SerializeToString()))
def test_any_command(data):
    try:
        command = decode_command(data)
        check_command(command)
    except (UnreadableError, InvalidNameError):
        return
    for subject in (
        SUBJECTS.command(command.handler, command.partition_key),
        SUBJECTS.timer(command.invocation_id, "start"),
        SUBJECTS.schedule(command.schedule or "s"),
        SUBJECTS.command(command.parent_handler or "h", command.parent_partition_key),
    ):
        assert not {*subject} & {*' "*>\r\n\t'}
        assert "" not in subject.split(".")


def json_of(cls, sample) -> st.SearchStrategy[bytes]:
    value = st.recursive(
        st.none() | st.booleans() | INT64 | st.floats() | TEXT, lambda v: st.lists(v, max_size=2), max_leaves=3
    )
    wrong = st.fixed_dictionaries({}, optional={field.name: value for field in fields(cls)})
    more = st.dictionaries(st.text(max_size=5), value, max_size=1)
    return st.builds(lambda w, m: json.dumps({**asdict(sample), **w, **m}).encode(), wrong, more)


LEASE = leases.Lease("p-1", ["h"], "1", "host", 7, 100, 3, 5)


@long_and_short(DATA | json_of(leases.Lease, LEASE))
def test_any_lease(data):
    lease = leases.parse(data, "p-1")
    if lease is not None:
        assert {type(getattr(lease, f.name)) is type(getattr(LEASE, f.name)) for f in fields(lease)} == {True}
        sorted([lease, LEASE], key=lambda each: (each.started_at, each.processor_id))


def test_a_lease_of_a_newer_version_is_one():
    assert leases.parse(json.dumps({**asdict(LEASE), "zone": "eu", "weights": {"h": 1}}).encode(), "p-1") == LEASE


@long_and_short(
    DATA | json_of(Schedule, Schedule("s", "h", every=60)) | json_of(Schedule, Schedule("s", "h", cron="1 * * * *"))
)
def test_any_schedule(data):
    try:
        schedule = Schedule.decode(data, "s")
    except UnreadableError:
        return
    assert schedule.next_after(schedule.created_at) >= 0
    assert schedule.expression()
    assert Schedule.decode(schedule.encode(), "s") == schedule


@long_and_short(st.tuples(DATA, TEXT))
def test_any_value(payload):
    json.dumps(Schemas().to_json(Payload(*payload)), allow_nan=False)
    with suppress(InvalidValueError):
        decode_value(Payload(*payload))


@long_and_short(DATA)
def test_any_description_of_a_message_type(data):
    schemas = Schemas()
    schemas.add("shop.Order", data)
    json.dumps(schemas.to_json(Payload(b"\x0a\x01x", "shop.Order")), allow_nan=False)


TOKENS = st.lists(TEXT | st.sampled_from(["20261122", "12", "running", "000001~w-1", "~", "1~"]), max_size=12)


@long_and_short(TOKENS.map(".".join) | st.text(max_size=60))
def test_any_index_subject_is_an_entry_that_reads_back_or_none(rest):
    entry = parse_index_entry(
        SUBJECTS, SUBJECTS.index("", 0, "", "", "")[: -len("..19700101.00.00.00.~.000000~")] + rest
    )
    assert entry is None or SUBJECTS.index(*entry[:-1], waits=entry.waits).endswith(rest)


@long_and_short(st.text(max_size=60))
def test_any_cursor_or_awakeable_id(text):
    for read in (invocation_of_awakeable, partial(read_cursor, oldest_first=False)):
        with suppress(DurableError):
            assert read(text) is not None or not text


def test_valid_command_is_accepted():
    check_command(Command("w-1", "h", partition_key="p", created_at=1, parent_id="p-1", parent_handler="h"))
