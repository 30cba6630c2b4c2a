"""Filters that read records: reason, step, owner, input and the beginning of the id; and lists without a page's end."""

from __future__ import annotations

import json

import pytest

from durablectl import query
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.records import Execution, FailedStep, Payload, PendingWait
from durablectl.storage.index import index_entries
from durablectl.storage.records import states

RECORDS = [
    ("order-1", "running", {"owner": "worker-1", "current_step": 2, "current_step_type": "charge"}, {"user": "u1"}),
    (
        "order-2",
        "failed",
        {"failed_step": FailedStep(2, "charge"), "error": "no", "reason_code": "step_failed"},
        {"user": "u2", "amount": 300},
    ),
    ("order-3", "suspended", {"waits": [PendingWait("signal", "signal:go", 3)]}, {"user": "u1", "amount": 7}),
    ("case-1", "paused", {"reason": "The code differs at step 2.", "reason_code": "mismatch"}, ["a", "b"]),
    ("case-2", "paused", {"reason": "waiting for the bank", "reason_code": "paused_by_operator"}, None),
    ("case-3", "cancelled", {"reason": "ordered by mistake"}, {"items": [{"price": 5}, {"price": 50}]}),
    ("case-4", "completed", {"current_step_type": "charge"}, {"user": "U1"}),
]


@pytest.fixture
async def filled(store):
    now = SYSTEM_CLOCK.now()
    for number, (invocation_id, status, fields, value) in enumerate(RECORDS):
        payload = Payload(json.dumps(value).encode()) if value is not None else Payload()
        at = now + number
        record = Execution(
            invocation_id, "shop", status, input=payload, indexed_at=at, updated_at=at, created_at=at, **fields
        )
        assert await states.create(store, record)
        await store.requests.exchange(index_entries.addition(store, record))
    return store


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"reason": "DIFFERS"}, ["case-1"]),
        ({"reason": "mismatch"}, ["case-1"]),
        ({"reason": "mis"}, ["case-3"]),
        ({"reason": "mismatch", "statuses": ["failed"]}, []),
        ({"step": "charge"}, ["order-1", "order-2"]),
        ({"step": "go"}, ["order-3"]),
        ({"step": "signal:go", "waiting_for": ["signal"]}, ["order-3"]),
        ({"step": "charge", "statuses": ["failed", "completed"]}, ["order-2"]),
        ({"step": "charge", "reason": "x"}, []),
        ({"owner": "worker-1"}, ["order-1"]),
        ({"owner": "worker-2"}, []),
        ({"input": "u1"}, ["case-4", "order-1", "order-3"]),
        ({"input": '"user": "u2"'}, ["order-2"]),
        ({"input": '"user":"u2"'}, ["order-2"]),
        ({"input_json": '.user == "u1"'}, ["order-1", "order-3"]),
        ({"input_json": ".amount > 100", "statuses": ["failed"]}, ["order-2"]),
        ({"input_json": ".items[].price > 10"}, ["case-3"]),
        ({"input_json": '. | contains(["a"])'}, ["case-1"]),
        ({"input_json": ". == null"}, ["case-2"]),
        ({"id_prefix": "case-"}, ["case-1", "case-2", "case-3", "case-4"]),
        ({"id_prefix": "order-1"}, ["order-1"]),
        ({"id_prefix": "order-", "input_json": '.user == "u1"', "waiting_for": ["signal"]}, ["order-3"]),
    ],
)
async def test_filters_choose_by_records(filled, asked, expected):
    filters = query.Filters.parse(**asked)
    for scan in (False, True):
        page = await query.list_workflows(filled, filters, scan=scan)
        assert sorted(view.invocation_id for view in page.workflows) == expected
    assert await query.count_workflows(filled, filters) == len(expected)
    assert (await query.get_stats(filled, filters)).total == len(expected)
    assert sorted(each.invocation_id for each in await query.select_workflows(filled, filters)) == expected


@pytest.mark.usefixtures("filled")
async def test_flags_choose_in_lists_and_bulk_commands(cli):
    listed = cli("wf", "list", "--input-json", '.user == "u1"', "--status", "active", "-o", "name")
    assert (listed.returncode, listed.stdout.split()) == (0, ["order-3", "order-1"])
    resumed = cli("wf", "resume", "--reason", "mismatch", "--dry-run", "-o", "name")
    assert (resumed.returncode, resumed.stdout.split()) == (0, ["case-1"])
    refused = cli("wf", "list", "--input-json", ".user = 1")
    assert refused.returncode == 2
    assert "at character 7" in refused.stderr
    kind = cli("wf", "list", "--waiting-for", "signals")
    assert kind.returncode == 2
    assert "Did you mean 'signal'?" in kind.stderr


async def test_ids_and_json_lines_in_a_pipe_are_all_there_are(store, cli):
    now = SYSTEM_CLOCK.now()
    records = [Execution(f"w{n:03}", "bulk", "failed", indexed_at=now + n, updated_at=now + n) for n in range(120)]
    for record in records:
        assert await states.create(store, record)
        await store.requests.exchange(index_entries.addition(store, record))
    assert len(cli("wf", "list", "-o", "name").stdout.split()) == 120
    assert len(cli("wf", "list", "-o", "jsonl").stdout.splitlines()) == 120
    assert len(cli("wf", "list", "-o", "name", "--limit", "7").stdout.split()) == 7
    assert len(json.loads(cli("wf", "list", "--json").stdout)["workflows"]) == 50
