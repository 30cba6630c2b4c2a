"""What an operator has waited for is in the lists afterwards: its processor enters it a moment after the end."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import control
from durablectl.control import wait
from durablectl.storage.index import index_entries
from durablectl.storage.records import states
from helpers.index_listing import index_groups
from helpers.workflow_runs import start_workflow


@pytest.fixture
async def unlisted(store):
    """The state of a workflow that has no entry."""
    await start_workflow(store, "w", id="w")
    execution = (await states.load(store, "w")).execution
    await store.requests.exchange(
        [index_entries.removal(store, index_entries.index_subject(store.subjects, execution))]
    )
    assert await index_groups(store, "w") == []
    return execution


async def test_its_entry_is_waited_for(store, unlisted):
    waiting = asyncio.create_task(control.wait_until_listed(store, unlisted))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await store.requests.exchange(index_entries.addition(store, unlisted))
    await waiting
    assert await index_groups(store, "w") == ["pending"]


async def test_not_without_end(store, unlisted, monkeypatch):
    """Its processor may have died in between."""
    monkeypatch.setattr(wait, "_PAUSES", (0.001, 0.01))
    await asyncio.wait_for(control.wait_until_listed(store, unlisted), 60)


async def test_until_listed_skips_foreign_record(store, unlisted):
    """Its records have no time of entry, and no entry."""
    unlisted.indexed_at = 0
    await asyncio.wait_for(control.wait_until_listed(store, unlisted), 60)


async def test_until_listed_skips_record_with_impossible_time(store, unlisted):
    unlisted.indexed_at = 2**62
    await asyncio.wait_for(control.wait_until_listed(store, unlisted), 60)
