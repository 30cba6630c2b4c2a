"""`wf diff`: what two runs differ in, and how it is drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablectl.cli.render.diff import diff_lines, diff_page
from durablectl.query import ABSENT, Aspect, compare
from durablectl.query.diff import value_changes
from helpers import views
from helpers.views import NOW, S, step

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab.", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab c", max_size=2), inner, max_size=3),
    max_leaves=12,
)


def run(name, *journal, **changed):
    return replace(
        views.COMPLETED, invocation_id=name, journal=list(journal), journal_length=len(journal),
        total_steps=len(journal), **changed,
    )  # fmt: skip


def found(a, b):
    return [(change.path, change.a, change.b) for change in value_changes(a, b)]


def test_changes_within_json_have_paths():
    assert found({"a": 1, "b": [1, 2]}, {"a": 2, "b": [1, 3]}) == [(".a", 1, 2), (".b[1]", 2, 3)]
    assert found({"a": None}, {}) == [(".a", None, ABSENT)]
    assert found({"x y": {'"': 1}}, {"x y": {'"': 2}}) == [('["x y"]["\\""]', 1, 2)]
    assert found(1, "1") == [(".", 1, "1")]
    assert found(1, True) == [(".", 1, True)]
    assert found([], {}) == [(".", [], {})]


def test_insertion_into_a_list_leaves_later_items_equal():
    assert found([1, 2, 3], [1, 9, 2, 3]) == [("[1]", ABSENT, 9)]
    assert found([1, 2, 3], [3]) == [("[0]", 1, ABSENT), ("[1]", 2, ABSENT)]
    assert found([1, 2], [1, 2, 2]) == [("[2]", ABSENT, 2)]


@given(JSON, JSON)
def test_changes_are_listed_exactly_where_json_differs(a, b):
    assert bool(value_changes(a, b)) == (json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True))
    back = [(path, there, here) for path, here, there in found(b, a)]  # of objects, the keys of the first come first
    assert sorted(back, key=repr) == sorted(found(a, b), key=repr)


def test_two_equal_runs_do_not_differ():
    a = run("a", step(0), step(1))
    same = compare(a, replace(a, invocation_id="b"))
    assert (same.header, same.steps, same.divergence) == ([], [], None)
    assert "No step differs (2 steps)." in diff_page(same, NOW, 80).plain


@pytest.mark.parametrize(
    ("other", "aspects"),
    [
        ({"step_type": "charge"}, [Aspect.TYPE]),
        ({"kind": "step"}, [Aspect.TYPE]),
        ({"response": {"message": "Bye"}}, [Aspect.RESULT]),
        ({"error": "no", "error_type": "E", "response": None}, [Aspect.ERROR]),
        ({"error_type": "Other"}, [Aspect.ERROR]),
    ],
)
def test_the_first_divergence_is_in_type_result_or_error(other, aspects):
    a, b = run("a", step(0), step(1), step(2)), run("b", step(0), step(1, **other), step(2, **other))
    first = compare(a, b).divergence
    assert first is not None
    assert (first.step_number, first.aspects) == (1, aspects)


def test_different_request_alone_is_shown_without_divergence():
    a, b = run("a", step(0), step(1), step(2)), run("b", step(0), step(1, request={}), step(2, response={}))
    compared = compare(a, b)
    assert compared.divergence is not None
    assert compared.divergence.step_number == 2
    assert [each.step_number for each in compared.steps] == [1, 2]
    assert (
        "1 more step differs (step 1 before it by the request alone): see --full" in diff_page(compared, NOW, 80).plain
    )
    alone = diff_page(compare(run("a", step(0)), run("b", step(0, request={}))), NOW, 80).plain
    assert "No step has another type, result or error; only requests differ." in alone


def test_a_step_that_only_one_took_is_a_divergence():
    first = compare(run("a", step(0), step(1)), run("b", step(0))).divergence
    assert first is not None
    assert (first.step_number, first.aspects, first.b) == (1, [Aspect.PRESENCE], None)


def test_first_different_outcome_is_shown_after_other_values():
    failed = step(2, error="no money", error_type="ValueError", response=None)
    a, b = run("a", step(0), step(1), step(2)), run("b", step(0), step(1, response={}), failed)
    compared = compare(a, b)
    assert compared.divergence is not None
    assert compared.first_other_outcome is not None
    assert (compared.divergence.step_number, compared.first_other_outcome.step_number) == (1, 2)
    assert "First other outcome: step 2" in diff_page(compared, NOW, 80).plain


def test_an_open_wait_differs_from_one_that_is_over():
    waits = step(0, kind="sleep", step_type="sleep", response=None, finished_at=0)
    first = compare(run("a", waits), run("b", replace(waits, finished_at=NOW))).divergence
    assert first is not None
    assert first.aspects == [Aspect.STATE]


def test_the_ids_of_children_are_no_difference():
    a, b = (step(0, kind="spawn", step_type="spawn:x", response=name) for name in ("child-1", "child-2"))
    assert compare(run("a", a), run("b", b)).steps == []


def test_missing_output_of_incomplete_run_is_no_difference():
    compared = compare(run("a"), run("b", status="failed", output=None, error="no money"))
    assert [each.name for each in compared.header] == ["status", "error"]


def test_durations_are_side_by_side_with_their_ratio():
    slow = step(0, finished_at=step(0).started_at + 2 * 3_456)
    (took,) = compare(run("a", step(0), step(1)), run("b", slow)).durations
    assert (took.a, took.b, took.ratio) == (3_456, 6_912, 2.0)
    instant = step(0, finished_at=step(0).started_at)
    assert compare(run("a", instant), run("b", slow)).durations[0].ratio is None


def test_a_page_at_80_columns():
    failed = step(1, "Team", error="no money", error_type="ValueError", response=None, attempts=3)
    a = run("a", step(0), step(1, "Team"), input={"user": "ann", "cart": [1, 2]})
    b = run("b", step(0), failed, input={"user": "bob", "cart": [1, 5, 2]}, status="failed", error="no money")
    assert diff_page(compare(a, replace(b, handler="checkout")), NOW, 80).plain.splitlines() == [
        "A  ✓ a",
        "     async_workflow, completed in 3.4 s, 2 steps",
        "B  ✗ b",
        "     checkout, failed after 3.4 s, 2 steps",
        "Other handlers: their steps are compared by number.",
        "",
        "                A               B",
        "handler         async_workflow  checkout",
        "status          completed       failed",
        "error           -               no money",
        "",
        "input",
        '  .user  "ann" → "bob"',
        "  .cart[1]  (absent) → 5",
        "",
        "First divergence: step 1 HelloService.SayHello  error",
        '  A ✓ {"message": "Hello, Team:user-001!"}',
        "  B ✗ ValueError: no money (attempt 3)",
        "",
        "#  STEP                       A      B   B/A",
        "0  HelloService.SayHello  3.4ms  3.4ms  1.00",
        "1  HelloService.SayHello  3.4ms  3.4ms  1.00",
        "   altogether              3.4s   3.4s  1.00",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("other", views.ALL)
def test_diff_fits_the_terminal(other, width):
    page = diff_page(compare(views.FAILED, views.ALL[other]), NOW, width).plain
    assert all(len(line) <= width for line in page.splitlines())
    assert "\x1b" not in page


def test_of_long_values_the_part_that_differs_is_shown():
    long = "x" * 300
    a, b = run("a", step(0, response=f"{long}ONE")), run("b", step(0, response=f"{long}TWO"))
    page = diff_page(compare(a, b), NOW, 80).plain
    assert 'ONE"' in page
    assert 'TWO"' in page
    assert f"{long}ONE" in diff_page(compare(a, b), NOW, 80, full=True).plain


def test_of_many_steps_the_durations_that_differ_most_are_shown():
    steps = [step(number) for number in range(100)]
    slower = [replace(each, finished_at=each.finished_at + each.step_number * S) for each in steps]
    compared = compare(run("a", *steps), run("b", *slower))
    page = diff_page(compared, NOW, 80).plain
    assert "the 20 of 100 steps whose times differ most: see --full" in page
    assert re.search(r"^99  ", page, re.MULTILINE)
    assert not re.search(r"^ ?7  ", page, re.MULTILINE)
    assert re.search(r"^ 7  ", diff_page(compared, NOW, 80, full=True).plain, re.MULTILINE)


def test_piped_diff_lines_begin_with_their_kind():
    failed = step(1, error="no", error_type="E", response=None, request={"name": "x"})
    lines = diff_lines(compare(run("a", step(0), step(1)), run("b", step(0), failed))).splitlines()
    assert lines[:2] == ["run\tA\ta\tasync_workflow\tcompleted", "run\tB\tb\tasync_workflow\tcompleted"]
    assert 'divergence\t1\trequest\t.name\t"User:user-001"\t"x"' in lines
    assert 'divergence\t1\toutcome\t\t{"message": "Hello, User:user-001!"}\tE: no' in lines
    assert "milliseconds\t0\tHelloService.SayHello\t3.456\t3.456\t1.000" in lines
