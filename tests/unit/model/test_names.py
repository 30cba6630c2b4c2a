"""What may become a token of a subject, and how the rest is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durablectl.errors import InvalidNameError
from durablectl.model.names import (
    MAX_NAME_LENGTH,
    new_invocation_id,
    validate_invocation_id,
    validate_name,
    validate_new_invocation_id,
    validate_new_name,
)

ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="


@given(st.text(ALLOWED, min_size=1, max_size=MAX_NAME_LENGTH))
def test_a_valid_name_is_returned_unchanged(name):
    assert validate_name("handler", name) == name


@given(st.text(max_size=MAX_NAME_LENGTH))
@example("a.b")
@example("a\n")
@example("*")
@example("ä")
@example("\u0661")
@example("\u200b")
def test_any_other_character_is_refused_and_named(name):
    if name and all(character in ALLOWED for character in name):
        return
    with pytest.raises(InvalidNameError) as caught:
        validate_name("handler", name)
    message = caught.value.message
    if not name:
        assert message == "The handler is empty."
    else:
        first = next(character for character in name if character not in ALLOWED)
        assert (repr(first) if first.isprintable() else f"U+{ord(first):04X}") in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "The invocation id is empty."),
        ("a.b", "The invocation id 'a.b' holds the character '.', which is not allowed."),
        ("*", "The invocation id '*' holds the character '*', which is not allowed."),
        (">", "The invocation id '>' holds the character '>', which is not allowed."),
        ("a b", "The invocation id 'a b' holds the character ' ', which is not allowed."),
        ("a\tb", "The invocation id 'a\\tb' holds the character U+0009, which is not allowed."),
        ("x" * 200, "The invocation id has 200 characters."),
        ("x" * 129, "The invocation id has 129 characters."),
        ("active", "The invocation id 'active' is reserved."),
        ("stats", "The invocation id 'stats' is reserved."),
    ],
)
def test_the_sentence_for_an_id_that_cannot_be_one(name, sentence):
    with pytest.raises(InvalidNameError) as caught:
        validate_invocation_id(name)
    assert caught.value.message == sentence
    assert caught.value.hint
    assert (caught.value.exit_code, caught.value.code) == (2, "invalid_name")


def test_the_longest_name_and_near_misses_of_the_reserved_ones_are_taken():
    assert validate_invocation_id("x" * 128) == "x" * 128
    for name in ("Active", "stats-1", "a=b_c-D9"):
        assert validate_invocation_id(name) == name
    assert validate_name("handler", "active") == "active"


def test_made_up_ids_are_valid_and_differ():
    made = {new_invocation_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{5}(-[0-9a-f]{5}){3}", validate_invocation_id(one)) for one in made)


@pytest.mark.parametrize("name", ["-", "-x", "--status=paused"])
def test_a_new_name_is_no_option_but_an_old_one_may_be(name):
    assert validate_name("handler", name) == validate_invocation_id(name) == name
    for refused in (lambda: validate_new_name("handler", name), lambda: validate_new_invocation_id(name)):
        with pytest.raises(InvalidNameError, match="begins with '-', and every command would take it for an option"):
            refused()
