"""Conditions on inputs, in a subset of jq."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as choose
from hypothesis import strategies as st

from durablectl.errors import UsageError
from durablectl.model.json_condition import parse_condition

ORDER = {
    "user": "u1",
    "amount": 120.5,
    "paid": True,
    "count": 1,
    "note": None,
    "tags": ["new", "gift wrap"],
    "items": [{"sku": "book-1", "price": 10}, {"sku": "pen-2", "price": 300}],
    "ship to": {"city": "Köln"},
}
HOLDS = [
    '.user == "u1"',
    '.user=="u1"',
    '.user != "u2"',
    '"u1" == .user',
    ".amount > 100",
    ".amount >= 120.5 and .amount < 121",
    "-1 < .count",
    ".paid",
    ".paid == true",
    ".note == null",
    ".missing == null",
    ".missing.deeper == null",
    ".user.deeper == null",
    '.["ship to"].city == "Köln"',
    '."ship to".city == "Köln"',
    '.["ship to"]["city"] | startswith("K")',
    '.items[0].sku == "book-1"',
    '.items[-1].sku == "pen-2"',
    ".items[].price > 200",
    '.items[] | .price > 200 and (.sku | endswith("2"))',
    ".items | length == 2",
    ".items | length > 1",
    ".missing | not",
    ".missing | length == 0",
    '.tags | contains("new")',
    '.tags | contains(["new", "gift"])',
    '.tags == ["new", "gift wrap"]',
    '. | contains({"user": "u1"})',
    'has("note")',
    '(has("nothing") | not) and has("user")',
    '.user == "u2" or .user == "u1"',
    '.user < "u2"',
    '.["ship to"] == {"city": "Köln"}',
    ".tags[]",
    ".",
    "true",
    '.user == "u\\u0031"',
    ".count == 1.0",
    ".items[2] == null",
]
FAILS = [
    '.user == "u2"',
    ".amount < 100",
    ".missing < 5",
    ".missing > 5",
    ".user > 5",
    ".count == true",
    ".note",
    ".missing",
    ".paid | not",
    ".items[].price > 1000",
    ".user[] == 1",
    '.user == "u1" and .amount > 200',
    '.tags | contains("old")',
    '.tags | startswith("new")',
    "false or null",
    ".items[0].price == 300",
]
UNREADABLE = {
    "": "ends where",
    ".user = 1": "'=' is not expected",
    ".user ==": "ends where a path or a value is expected",
    "user == 1": "there is no 'user' here",
    ".user == 'u1'": "is not expected there",
    ".user == u1": "there is no 'u' here",
    "(.user": "')' is missing",
    ".items[": "is expected",
    '.tags | contains("a"': "')' is missing",
    ".a == 1 == 2": "cannot be chained",
    ".user test(1)": "'test' is not expected there",
    "." + "[": "is expected",
    "(" * 500 + "1": "nests too deep",
}


@pytest.mark.parametrize("text", HOLDS)
def test_a_condition_holds(text):
    assert parse_condition(text)(ORDER)


@pytest.mark.parametrize("text", FAILS)
def test_a_condition_does_not_hold(text):
    assert not parse_condition(text)(ORDER)


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_bad_condition_is_refused_with_its_place(text):
    with pytest.raises(UsageError) as refused:
        parse_condition(text)
    assert UNREADABLE[text] in str(refused.value)
    assert "at character" in str(refused.value)
    assert "jq" in refused.value.hint


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@choose(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([*HOLDS, *FAILS]), VALUES)
def test_any_value_gives_an_answer(text, value):
    assert parse_condition(text)(value) in {True, False}


@choose(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(max_size=12)
    | st.lists(st.sampled_from([".a", "==", "(", ")", "[", "]", "not", "1", '"x"', "|"]), max_size=8).map(" ".join)
)
def test_any_text_is_a_condition_or_refused(text):
    with contextlib.suppress(UsageError):
        parse_condition(text)(ORDER)


@pytest.mark.parametrize(
    "text",
    [
        f".[{'1' * 5000}]",
        "[" * 5000,
        f".a == {'[' * 900}{']' * 900}",
        ".a" * 3000,
        ".a or " * 3000 + ".a",
        "(" * 3000,
        '.a == "' + "x" * 5000,
    ],
)
def test_a_condition_without_bounds_is_refused_in_a_sentence(text):
    with pytest.raises(UsageError) as refused:
        parse_condition(text)
    assert len(refused.value.message) < 6000 if text.endswith("x") else len(refused.value.message) < 600


def test_a_condition_of_the_most_parts_can_be_tested():
    assert parse_condition(".a" * 190 + " == null")({"a": {}})
