"""What a reader of changes remembers of the workflows that it has seen: little, and not for ever."""

from __future__ import annotations

import tracemalloc

from durablectl.model.records import Execution
from durablectl.query import ChangeReader, state_changes


def remember(reader, number, handler="checkout", partition_key="north") -> None:
    # A decoder makes strings of its own each time.
    reader._remember(f"w{number}", Execution(f"w{number}", "".join(handler), partition_key="".join(partition_key)))


async def test_least_recently_changed_workflows_are_forgotten_first(store, monkeypatch):
    monkeypatch.setattr(state_changes, "_REMEMBERED", 100)
    reader = ChangeReader(store)
    for number in range(150):
        remember(reader, number)
        remember(reader, 0)
        assert len(reader._seen) <= 100
    assert {"w0", "w149"} <= reader._seen.keys()
    assert "w1" not in reader._seen


async def test_each_costs_a_tenth_of_a_kilobyte(store):
    reader = ChangeReader(store)
    tracemalloc.start()
    try:
        for number in range(20_000):
            remember(reader, number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / 20_000 < 150
