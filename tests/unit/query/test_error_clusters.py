"""Which messages of failures are alike."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablectl.query.error_clusters import normalise


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Order 17 of user-001 failed: HTTP 503", "Order <*> of user-<*> failed: HTTP 503"),
        ("http://pay-3.example.com:8080/orders/17?x=1 is down", "http://pay-<*>.example.com:<*><path> is down"),
        ("unknown column 'amount'", "unknown column 'amount'"),
        ("'user-17' is not in \"orders\"", "'user-<*>' is not in \"orders\""),
        ("No such file: '/home/tom smith/x y.txt'", "No such file: '<path>'"),
        ("'a'/'b' or '/x' and '/y'", "'a'/'b' or '<path>' and '<path>'"),
        ("exit code 137, status: 404, [Errno 111]", "exit code 137, status: 404, [Errno 111]"),
        ("error code 12345, HTTP 50312", "error code <*>, HTTP <*>"),
        ("key qLwZkPvbNxTplmRsDa, key qwkzjvnbxtplmrsd", "key <*>, key <*>"),
        ("HTTPSConnectionPool IoTDeviceIdTooOldError", "HTTPSConnectionPool IoTDeviceIdTooOldError"),
        ("[2001:db8::1]:443, fe80::1, 00:1b:44:11:3a:b7", "[<*>]:<*>, <*>, <*>"),
        ("std::bad or a::b", "std::bad or a::b"),
        ("can't open /var/lib/x-1/y.txt.", "can't open <path>."),
        ("C:\\Users\\tom: denied", "<path>: denied"),
        ("job 3f2a9-11abc-00000-fffff at 2026-11-22T10:11:12.123Z", "job <*> at <time>"),
        ("at 2026-11-22 10:11:12,5 and Sun, 22 Nov 2026 10:11:12 GMT", "at <time> and <time>"),
        ("10.0.0.1:4222: 5ms, 1.5ms, -3 of 1,200,000 items (1e-7)", "<*>:<*>: <*>ms, <*>ms, <*> of <*> items (<*>)"),
        ("sha256 0xdeadbeef is not deadbeefcafe", "sha<*> <*> is not <*>"),
        ("payments-7d9f8b6c5-x2x9z and/or bob@example.com", "payments-<*> and/or <*>"),
        ("KeyError('user_id')", "KeyError('user_id')"),
        ("several\n  lines\tof it", "several lines of it"),
        ("", ""),
    ],
)
def test_variable_parts_of_messages_are_masked(message, expected):
    assert normalise(message) == expected


NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 10**9).map("{:,}".format),
    st.decimals(0, 10**6, places=3).map(str),
)
IDS = st.one_of(
    st.uuids().map(str),
    st.binary(min_size=4, max_size=20).map(bytes.hex),
    st.binary(min_size=10, max_size=10).map(bytes.hex).map(lambda h: "-".join(h[i : i + 5] for i in range(0, 20, 5))),
    st.integers(0, 2**64).map(hex),
    st.integers(0, 2**40).map(str),
)
PATHS = st.lists(st.text("abcxyz019_-.", min_size=1, max_size=6), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts) + "/x"
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).flatmap(  # noqa: DTZ001 - hypothesis wants naive bounds
    lambda at: st.sampled_from([at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", f"{at:%Y-%m-%dT%H:%M:%SZ}"])
)
SLOTS = {"*": st.one_of(NUMBERS, IDS), "path": PATHS, "time": TIMES}
WORDS = st.sampled_from(["order", "of", "failed:", "(at", "after)", "the", "can't", "host,", "=", "io.read", "ünter"])


@given(st.text(max_size=200))
def test_normalising_again_changes_nothing(message):
    assert normalise(normalise(message)) == normalise(message)


@given(st.lists(st.sampled_from([*"'\"`/\\<>*.-_:@,()~ a1f9x=", "<*>", "://", "don't", "0x"]), max_size=40))
def test_normalising_is_idempotent_for_placeholder_text(parts):
    message = "".join(parts)
    assert normalise(normalise(message)) == normalise(message)


@given(st.lists(st.one_of(WORDS, st.sampled_from(sorted(SLOTS)).map(lambda kind: (kind,))), max_size=12), st.data())
def test_messages_differing_only_in_masked_parts_are_equal(parts, data):
    def message() -> str:
        return " or ".join(part if isinstance(part, str) else data.draw(SLOTS[part[0]]) for part in parts)

    # A word in between, as "10:11:12 -1000" is a time with its zone.
    expected = " or ".join(part if isinstance(part, str) else f"<{part[0]}>" for part in parts)
    assert normalise(message()) == normalise(message()) == expected


@given(st.uuids())
def test_an_id_within_a_word_is_open_too(uuid):
    assert normalise(f"order={uuid}, again.") == "order=<*>, again."
