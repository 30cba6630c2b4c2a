"""Durations, ages, shortened values, signs, JSON input, and the sentence about what a workflow does."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from durablectl.cli.options.json_input import read_input
from durablectl.cli.render.formatting import age, compact, countdown, duration, elapsed, one_line, value
from durablectl.cli.render.journal import exchange, journal_table
from durablectl.cli.render.status_sentence import status_sentence
from durablectl.cli.render.symbols import ERROR_HANDLER, STATUS, spinner
from durablectl.cli.render.table import fit, plain, shortened, table
from durablectl.cli.render.watch import watch_frame
from durablectl.errors import InvalidValueError
from durablectl.model.status import Status
from durablectl.query import WaitingView
from helpers import views
from helpers.views import NOW, S


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (-5, "0.0 ms"),
        (449, "0.4 ms"),
        (9_999, "9.9 ms"),
        (10_000, "10 ms"),
        (999_999, "999 ms"),
        (S, "1.0 s"),
        (9_990_000, "9.9 s"),
        (10 * S, "10 s"),
        (59_999_999, "59 s"),
        (60 * S, "1 min 00 s"),
        (3_599 * S, "59 min 59 s"),
        (3_600 * S, "1 h 00 min"),
        (86_399 * S, "23 h 59 min"),
        (86_400 * S, "1 d 0 h"),
        (400 * 86_400 * S, "400 d 0 h"),
    ],
)
def test_duration(microseconds, words):
    assert duration(microseconds) == words


def test_clocks_do_not_flicker_and_countdowns_end_at_one():
    assert [elapsed(ms * 1000) for ms in (-1, 20, 99, 100, 1_250)] == ["0.0 s", "0.0 s", "0.0 s", "0.1 s", "1.2 s"]
    assert [countdown(us) for us in (-1, 0, 1, S, S + 1, 61 * S)] == ["0 s", "0 s", "1 s", "1 s", "2 s", "1 min 01 s"]
    assert compact(duration(125 * S)) == "2m05s"
    assert [age(NOW - s * S, NOW) for s in (-3, 59, 60, 7199, 90_000)] == ["0 s", "59 s", "1 min", "1 h", "1 d"]
    assert age(0, NOW) == ""


def test_stored_text_cannot_drive_the_terminal():
    assert one_line("a\n\tb\x1b[2J\x9b\u202ec") == "a\\n\\tb\\x1b[2J\\x9b\\u202ec"
    assert value({"å": "\x1b"}) == '{"å": "\\u001b"}'


def test_shortening_counts_columns():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
    assert shortened("日本語", 6) == "日本語"
    assert shortened("日本語語", 6) == "日本 …"


def test_request_and_result_share_the_room():
    short = views.step(0, request={"a": 1}, response="x" * 50)
    assert exchange(short, 30).plain == '{"a": 1} → "xxxxxxxxxxxxxxxxx…'
    long = views.step(0, request="r" * 50, response="x" * 50)
    assert exchange(long, 31).plain == '"rrrrrrrrrrrr… → "xxxxxxxxxxxx…'
    assert exchange(views.step(0, request=None, response=None), 30).plain == "→ null"


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_sign_of_its_own_with_and_without_unicode(status):
    assert len({sign.glyph for sign in STATUS.values()}) == len(Status)
    ascii_signs = {sign.glyph.encode("ascii", ERROR_HANDLER) for sign in STATUS.values()}
    assert len(ascii_signs) == len(Status)
    assert len(STATUS[status].glyph.encode("latin-1", ERROR_HANDLER)) == 1


def test_foreign_symbols_are_escaped():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=ERROR_HANDLER)
    out.write("✓ é 日 → \U0001f600")
    out.flush()
    assert out.buffer.getvalue() == b"+ \\xe9 \\u65e5 > \\U0001f600"  # type: ignore[attr-defined]


def test_the_spinner_turns():
    assert len({spinner(NOW + tenth * 100_000).glyph for tenth in range(10)}) == 10


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (views.RETRYING, "retrying: no service answers (HelloService.SayHello, attempt 7 failed, next in 12 s)"),
        (views.UNHEARD, "waiting: no live processor has registered handler async_workflow"),
        (views.RUNNING, "running step 2 HelloService.SayHello for 2.0 s"),
        (replace(views.RUNNING, current_step=1), "running, 2 steps done"),
        (replace(views.RUNNING, current_step=-1, journal=[]), "running"),
        (views.COMPLETED, "completed in 3.4 s, 3 steps"),
        (replace(views.FAILED, error_type="StepError"), "failed after 1 min 04 s, 2 steps: no money\\x07"),
        (views.CANCELLED, "cancelled after 1 min 34 s, 1 step: ordered by mistake"),
        (views.workflow("paused"), "paused"),
        (views.workflow("a word of others"), "a word of others"),
        (
            replace(views.ASKING, waiting_for=WaitingView("signal", "signal:go", 1, NOW + 5 * S)),
            "waiting for the signal go, at most another 5 s",
        ),
        (replace(views.ASKING, waiting_for=WaitingView("comet", "halley", 1)), "waiting for comet halley"),
    ],
)
def test_the_sentence(view, sentence):
    assert status_sentence(view, NOW) == sentence


def test_columns_are_cut_before_they_are_dropped_and_the_rest_never():
    columns = [
        plain("ID", ["i" * 30]),
        plain("RARE", ["r" * 10], drop=2),
        plain("OFTEN", ["o" * 10], drop=1),
        plain("TEXT", ["t" * 20], least=8),
    ]
    assert [(column.title, width) for column, width in fit(columns, 100)] == [
        ("ID", 30),
        ("RARE", 10),
        ("OFTEN", 10),
        ("TEXT", 20),
    ]
    assert [width for _, width in fit(columns, 70)] == [30, 10, 10, 14]
    assert [(column.title, width) for column, width in fit(columns, 60)] == [("ID", 30), ("OFTEN", 10), ("TEXT", 16)]
    assert [(column.title, width) for column, width in fit(columns, 20)] == [("ID", 30), ("TEXT", 8)]
    assert table(columns, 20).plain.splitlines()[1] == "i" * 30 + "  ttttttt…"


def test_a_long_journal_keeps_its_end_on_a_small_screen():
    steps = [views.step(number) for number in range(5000)]
    view = views.workflow("running", current_step=5000, current_step_type="last", total_steps=5001, journal=steps)
    lines = watch_frame(view, NOW, 80, 24, None).plain.splitlines()
    assert len(lines) == 24
    assert lines[1] == "  4,981 earlier steps not shown"
    assert lines[-2].startswith("⠋ 5000  last")
    assert len(journal_table(view, NOW, 80).plain.splitlines()) == 5002


def test_previous_error_is_shown_during_the_next_attempt():
    before = views.RETRYING.waiting_for
    told = watch_frame(views.RUNNING, NOW, 80, 24, before).plain.splitlines()
    assert told[-3].endswith("attempt 8")
    assert told[-2].strip() == "no service answers"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user-001", "The input is not JSON: expecting value at column 1, near 'user-001'."),
        ('{"a": 1', "The input is not JSON: expecting ',' delimiter at column 8, at its end."),
        ('{\n"a" 1}', "The input is not JSON: expecting ':' delimiter at line 2, column 5, near '1}'."),
        ("NaN", "The input is not JSON: NaN is no JSON value."),
        ("[" * 100_000, "The input is not JSON: it is nested too deeply."),
        (" ", "The input is empty."),
        ("@", "--input @ names no file."),
        ("@/nowhere/at/all", "The input file /nowhere/at/all cannot be read: No such file or directory."),
    ],
)
def test_bad_input(text, message):
    with pytest.raises(InvalidValueError) as raised:
        read_input(text)
    assert raised.value.message == message


def test_the_hint_of_bad_input_can_be_pasted():
    with pytest.raises(InvalidValueError) as raised:
        read_input("it's me")
    assert raised.value.hint.endswith("""--input '"it'"'"'s me"'""")


def test_good_input(tmp_path):
    path = tmp_path / "input.json"
    path.write_bytes(b'\xef\xbb\xbf{"name": "Ad\xc3\xa9"}')
    assert read_input(f"@{path}") == {"name": "Adé"}
    assert read_input("[1, 2.5, null]") == [1, 2.5, None]
    assert read_input(None) is None
