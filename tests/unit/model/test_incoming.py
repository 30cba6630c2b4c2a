"""What came in against what was asked for: which names look misspelt, and what is unclaimed."""

from __future__ import annotations

from durablectl.model.incoming import Target, looks_misdirected, unclaimed_messages
from durablectl.model.records import Awakeable, DroppedSteps, Execution, JournalEntry, PendingWait, Signal
from durablectl.model.status import Status

NOW = 1_000_000


def waiting(*waits: PendingWait, status: Status = Status.SUSPENDED) -> Execution:
    return Execution("w", "h", status, waits=list(waits))


def awakeable(name: str, step: int = 0, until: int = 0) -> PendingWait:
    return PendingWait("awakeable", f"awakeable:{name}", step, until, awaited_id=f"w.{name}")


def signal(name: str, step: int = 0) -> PendingWait:
    return PendingWait("signal", f"signal:{name}", step)


def instead(execution: Execution, target: Target, *entries: JournalEntry) -> list[str]:
    return [each.name for each in looks_misdirected(execution, entries, target, NOW)]


def test_awaited_name_is_right():
    execution = waiting(awakeable("a"), signal("s", 1))
    assert instead(execution, Target("awakeable", "w.a")) == []
    assert instead(execution, Target("signal", "s")) == []


def test_other_name_gets_every_wait_the_most_alike_first():
    execution = waiting(awakeable("payment"), awakeable("approval", 1), signal("s", 2))
    assert instead(execution, Target("awakeable", "w.aproval")) == ["w.approval", "w.payment", "s"]


def test_name_asked_for_before_is_right():
    execution = waiting(signal("checkout", 3))
    received = JournalEntry(1, "signal:item", "signal", finished_at=1, awaited_id="1")
    assert instead(execution, Target("signal", "item"), received) == []
    execution.history = [DroppedSteps(1, "retried", [received])]
    assert instead(execution, Target("signal", "item")) == []
    assert instead(execution, Target("signal", "itm")) == ["checkout"]


def test_other_kind_counts_only_where_the_name_is_alike():
    execution = waiting(awakeable("approval"))
    assert instead(execution, Target("signal", "approvel")) == ["w.approval"]
    assert instead(execution, Target("signal", "note")) == []


def test_wait_that_is_about_to_end_makes_the_next_answer_early():
    due = waiting(awakeable("a", until=NOW))
    assert instead(due, Target("awakeable", "w.b")) == []
    answered = waiting(awakeable("a"))
    answered.awakeables["w.a"] = Awakeable("w.a", "w", resolved=True)
    assert instead(answered, Target("awakeable", "w.b")) == []
    paused = waiting(awakeable("a"), status=Status.PAUSED)
    assert instead(paused, Target("awakeable", "w.b")) == ["w.a"]
    ended = JournalEntry(0, "awakeable:a", "awakeable", finished_at=1, awaited_id="w.a")
    assert instead(paused, Target("awakeable", "w.b"), ended) == []


def test_running_workflow_may_ask_for_anything():
    assert instead(waiting(awakeable("a"), status=Status.RUNNING), Target("awakeable", "w.b")) == []


def test_unclaimed_is_what_no_ended_wait_has_received():
    execution = waiting()
    execution.awakeables = {
        each: Awakeable(each, "w", resolved=True, created_at=at, name=each[2:]) for each, at in (("w.a", 5), ("w.b", 1))
    }
    execution.signals = [Signal("s", sent_at=3, number=1), Signal("s", sent_at=4, number=2)]
    entries = [
        JournalEntry(0, "awakeable:a", "awakeable", finished_at=6, awaited_id="w.a"),
        JournalEntry(1, "signal:s", "signal", finished_at=7, awaited_id="1"),
        JournalEntry(2, "awakeable:b", "awakeable", awaited_id="w.b"),
    ]
    assert [(each.name, each.sent_at) for each in unclaimed_messages(execution, entries)] == [("b", 1), ("s", 4)]
    execution.status = Status.COMPLETED
    assert unclaimed_messages(execution, entries) == []
