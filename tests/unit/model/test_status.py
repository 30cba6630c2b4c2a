"""The status rules, and what a change of status does to the index entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durablectl.model.records import INDEX_LAG, Command, Execution, Payload, pending_execution
from durablectl.model.status import ACTIVE, TERMINAL, Status, is_terminal
from durablectl.storage.index import index_entries
from durablectl.storage.subjects import Subjects

SUBJECTS = Subjects("")


def test_the_statuses_are_those_of_the_contract():
    assert [*Status] == ["pending", "running", "suspended", "paused", "completed", "failed", "cancelled"]
    assert {"completed", "failed", "cancelled"} == TERMINAL
    assert {"pending", "running", "suspended", "paused"} == ACTIVE


@pytest.mark.parametrize("before", Status)
def test_only_a_claim_leaves_the_index_entry_in_place(before):
    execution = Execution("i", "h", before, indexed_at=1)
    execution.mark_started(2)
    assert (execution.status, execution.updated_at) == ("running", 2)
    expected = {"pending": ("pending", 1), "running": ("running", 1)}.get(before, ("running", 2))
    assert (execution.index_group, execution.indexed_at) == expected
    execution.enter_status(Status.RUNNING, 3)
    assert (execution.index_group, execution.indexed_at) == ("running", 3 if before == "pending" else expected[1])
    execution.enter_status(Status.COMPLETED, 4)
    assert (execution.index_group, execution.indexed_at) == ("completed", 4)


def test_a_word_of_another_implementation_is_not_terminal():
    assert not is_terminal("weird")
    assert Execution("i", "h", "weird").index_group == "other"


@given(st.lists(st.sampled_from(Status), min_size=1, max_size=12))
def test_each_change_removes_the_entries_it_replaces(statuses):
    """However an invocation moves, the entries added and the entries removed leave exactly the true one."""
    execution = pending_execution(Command("i", "h", created_at=1_700_000_000_000_000))
    entered = {index_entries.index_subject(SUBJECTS, execution)}
    for hours, status in enumerate(statuses, 1):
        execution.enter_status(status, 1_700_000_000_000_000 + hours * 3_600_000_000)
        current = index_entries.index_subject(SUBJECTS, execution)
        entered = {current, *entered} - {
            left for left in index_entries.superseded_subjects(SUBJECTS, execution) if left != current
        }
        assert entered == {current}


def test_index_entry_of_running_workflow_is_renewed_after_the_lag():
    execution = pending_execution(Command("i", "h", created_at=1_000))
    execution.enter_status(Status.RUNNING, 2_000)
    execution.enter_status(Status.RUNNING, 2_000 + INDEX_LAG - 1)
    assert (execution.indexed_at, execution.updated_at) == (2_000, 2_000 + INDEX_LAG - 1)
    execution.enter_status(Status.RUNNING, 2_000 + INDEX_LAG)
    assert (execution.indexed_at, execution.updated_at) == (2_000 + INDEX_LAG, 2_000 + INDEX_LAG)
    assert [(left.status, left.at) for left in execution.superseded_entries] == [("pending", 1_000), ("running", 2_000)]


def test_update_time_never_precedes_the_index_entry():
    execution = pending_execution(Command("i", "h", created_at=5_000))
    execution.mark_started(4_000)
    assert execution.updated_at == 5_000
    execution.enter_status(Status.RUNNING, 6_000)
    execution.enter_status(Status.RUNNING, 4_000)
    assert (execution.indexed_at, execution.updated_at) == (6_000, 6_000)


def test_client_and_processor_write_the_same_first_state():
    command = Command("i", "h", "start", Payload(b"1"), "p", 123, "token", "parent")
    assert pending_execution(command) == pending_execution(command)
    state = pending_execution(command)
    assert (state.status, state.current_step, state.total_steps, state.attempt) == ("pending", -1, 0, 0)
    assert (state.input, state.partition_key, state.created_at) == (Payload(b"1"), "p", 123)
    assert (state.start_token, state.parent_id, state.handler) == ("token", "parent", "h")


def test_index_entry_holds_the_fields_for_lists():
    execution = Execution("id-1", "greet", "failed", partition_key="eu", indexed_at=1_795_350_000_000_000)
    assert (
        index_entries.index_subject(SUBJECTS, execution)
        == "durable.index.failed.greet.20261122.12.20.00.eu.000000~id-1"
    )
    execution.partition_key = ""
    assert (
        index_entries.index_subject(Subjects("ns"), execution)
        == "durable-ns.index.failed.greet.20261122.12.20.00.~.000000~id-1"
    )
    assert Subjects("ns").index_entry(index_entries.index_subject(Subjects("ns"), execution)) == (
        "failed",
        1_795_350_000_000_000,
        "greet",
        "",
        "id-1",
        "",
    )
