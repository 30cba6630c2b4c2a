"""Every interleaving of the model's scenarios keeps the guarantees, and a model that breaks one rule is found out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.protocol import programs
from helpers.protocol.explorer import Scenario, System
from helpers.protocol.search import explore

STEPS, WAITS = ("step", "step"), ("step", "wait")
FAILS, FAILS_THEN_WAITS = ("step", "fail"), ("step", "fail", "wait")
START, PAUSE, RESUME, CANCEL, CANCEL_NOW = ("start",), ("pause",), ("resume",), ("cancel",), ("cancel_now",)
RETRY, RESOLVE, PAUSE_RESUME = ("retry",), ("resolve",), ("pause", "resume")

SCENARIOS = {
    "a processor dies": (Scenario(STEPS, deaths=1), 900),
    "it dies and nobody looks": (Scenario(STEPS, deaths=1, looks=0), 400),
    "two of three die": (Scenario(STEPS, processors=3, deaths=2), 100_000),
    "it is frozen": (Scenario(("step", "step", "step"), expiries=1), 1_900),
    "a command comes twice": (Scenario(STEPS, repeats=2, deaths=1), 4_000),
    "all three faults": (Scenario(STEPS, deaths=1, expiries=1, repeats=1), 50_000),
    "start": (Scenario(STEPS, (START,), started=False, deaths=1), 6_000),
    "pause and resume": (Scenario(STEPS, (PAUSE_RESUME,)), 40_000),
    "resume beside pause": (Scenario(STEPS, (PAUSE, RESUME)), 80_000),
    "pause, someone dies": (Scenario(STEPS, (PAUSE,), deaths=1), 100_000),
    "cancel": (Scenario(STEPS, (CANCEL,)), 7_000),
    "cancel beside pause": (Scenario(STEPS, (PAUSE, CANCEL)), 30_000),
    "cancel at once, someone dies": (Scenario(STEPS, (CANCEL_NOW,), deaths=1), 100_000),
    "resolve, someone dies": (Scenario(WAITS, (RESOLVE,), deaths=1), 35_000),
    "retry, someone dies": (Scenario(FAILS_THEN_WAITS, (RETRY,), deaths=1), 60_000),
    "a timer is early": (Scenario(WAITS, (RESOLVE,), early=True, repeats=1), 50_000),
}
DEEP = {
    "cancel, it is frozen": (Scenario(STEPS, (CANCEL,), expiries=1), 100_000),
    "pause and resume, someone dies": (Scenario(("step",), (PAUSE_RESUME,), deaths=1), 100_000),
    "cancel, someone dies": (Scenario(STEPS, (CANCEL,), deaths=1), 100_000),
    "cancel at once and retry": (Scenario(STEPS, (("cancel_now", "retry"),)), 100_000),
    "retry beside cancel": (Scenario(FAILS, (RETRY, CANCEL_NOW)), 100_000),
    "resolve, it is frozen": (Scenario(WAITS, (RESOLVE,), expiries=1), 100_000),
    "resolve beside pause and resume": (Scenario(WAITS, (RESOLVE, PAUSE_RESUME)), 100_000),
    "pause, a timer is early": (Scenario(("step",), (PAUSE,), deaths=1, early=True), 100_000),
    "two of three die, a command comes twice": (Scenario(STEPS, processors=3, deaths=2, repeats=1), 100_000),
}


def holds(scenario: Scenario, at_least: int) -> None:
    system = System(scenario)
    found = explore(system)
    print(f"{found.states:,} states, {found.moves:,} moves, {found.depth} deep, {found.ends} ends")
    assert not found.wrong, f"{found.wrong}:\n{tale(system, found.path)}"
    assert found.states >= at_least
    assert found.depth >= 20


def tale(system: System, path) -> str:
    place, lines = system.begin(), []
    for move in path:
        asked = system.asks(place, move.who) if move.kind == "act" else move.what
        lines.append(f"{move.kind} {system.name(move.who)} {asked}")
        if move is not path[-1]:
            place = system.after(place, move)
    return "\n".join(lines)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_interleaving_of_the_model_keeps_the_guarantees(name):
    holds(*SCENARIOS[name])


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", DEEP)
def test_every_interleaving_of_the_deep_model_keeps_the_guarantees(name):
    holds(*DEEP[name])


BROKEN = {
    "an append without the fence": (Scenario(STEPS, expiries=1), "a stale append was accepted"),
    "the claim is no compare-and-set": (Scenario(STEPS, (CANCEL_NOW,)), "a terminal state changed"),
    "the journal is read before the claim": (Scenario(STEPS, deaths=1, expiries=1), "a step was recorded twice"),
    "no look at the state after reading the journal": (
        Scenario(STEPS, (PAUSE_RESUME, CANCEL_NOW)),
        "a recorded step was executed again",
    ),
    "what lies in the record and the journal is not rewritten": (
        Scenario(FAILS_THEN_WAITS, (RETRY,)),
        "a recorded step was lost",
    ),
    "the command is acknowledged before the end is stored": (
        Scenario(STEPS, deaths=1, looks=0),
        "a workflow was lost",
    ),
    "an answer between look and suspend is missed": (Scenario(WAITS, (RESOLVE,)), "an answer was lost"),
    "the pause is not obeyed": (
        Scenario(("step", "step", "step"), (PAUSE_RESUME,)),
        "a step began although the pause had been seen",
    ),
    "no timer before a write that needs a processor": (
        Scenario(WAITS, (RESOLVE,), deaths=1),
        "an answer was lost",
    ),
    "an end ignores a cancellation": (Scenario(STEPS, (CANCEL,)), "a cancellation was lost"),
    "a purge without a limit": (Scenario(FAILS_THEN_WAITS, (RETRY,)), "a recorded step was lost"),
    "the end does not hold the journal": (Scenario(STEPS), "the output is not that of the recorded steps"),
    "the journal is purged before the end is stored": (Scenario(STEPS), "a recorded step was lost"),
    "a redelivery tidies nothing": (Scenario(STEPS, deaths=1, looks=0), "the index disagrees"),
    "the state of a start is stored before its command": (
        Scenario(STEPS, (START,), started=False, deaths=1),
        "a workflow was lost",
    ),
    "the index is not looked at again": (Scenario(STEPS, (PAUSE, RESUME)), "the index disagrees"),
    "an index entry that was there is removed": (Scenario(STEPS, processors=3, deaths=2), "the index disagrees"),
    "the index moves first": (Scenario(STEPS, repeats=1, deaths=1), "a journal was left behind"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_model_that_breaks_a_rule_is_found_out(rule):
    scenario, wrong = BROKEN[rule]
    found = explore(System(scenario, rule))
    assert found.wrong == wrong
    assert found.path


def test_every_rule_that_the_model_can_break_is_broken():
    directory = Path(programs.__file__).parent
    source = "".join(
        (directory / f"{each}.py").read_text(encoding="utf-8") for each in ("programs", "operators", "writes")
    )
    assert set(re.findall(r'self\.broken [!=]= "([^"]+)"', source)) == set(BROKEN)
