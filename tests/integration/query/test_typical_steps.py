"""How many steps runs of a handler usually have, and the children of a workflow, as a server knows them."""

from __future__ import annotations

import asyncio
import json

import pytest

from durablectl import query, workflow
from durablectl.query.typical_steps import _typical_length
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.sample_stack import SampleStack
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow


def same(value):
    return value


@workflow
async def counting(ctx, steps):
    for number in range(abs(steps)):
        await ctx.step(same, number)
    if steps < 0:
        await ctx.awakeable("go")


@workflow
async def never_done(ctx):
    await ctx.awakeable("go")


@workflow
async def parent(ctx):
    await ctx.invoke(counting, 2)
    await ctx.send(counting, 1, id="sent")
    await ctx.invoke(counting, -3)


@pytest.mark.parametrize(
    ("lengths", "usual"),
    [([], 0), ([6], 6), ([6, 6, 7, 6, 6], 6), ([3, 5, 3], 0), ([100, 90, 110], 100), ([100, 79, 100], 0), ([0, 0], 0)],
)
def test_widely_different_runs_give_no_typical_count(lengths, usual):
    assert _typical_length(lengths) == usual


async def usual_now(store) -> dict[str, int]:
    page = await query.list_workflows(store)
    return await query.find_typical_steps(store, page.workflows)


async def test_latest_completed_runs_give_the_typical_step_count(settings, store):
    async def listed(handler, status, *given) -> None:
        await wait_for_index_group(store, await start_workflow(store, handler, *given), status)

    async with running_processor(settings, counting, never_done):
        for steps in (40, 4, 4, 4, 4, 4):
            await listed(counting, "completed", steps)
        assert await usual_now(store) == {}, "nothing is active"
        await listed(counting, "suspended", -2)
        await listed(never_done, "suspended")
        assert await usual_now(store) == {"counting": 4}, "the run of 40 steps is older than the last five"
        await listed(counting, "completed", 12)
        assert await usual_now(store) == {}


async def test_children_are_read_at_once_and_shown_under_their_steps(settings, store, environment):
    stack = SampleStack(environment)
    async with running_processor(settings, counting, parent):
        await start_workflow(store, parent, id="mother")
        await wait_until(lambda: _waits_deep(store))
        view = await query.get_workflow(store, "mother")
        sent, first, last = view.children
        assert sent == "sent"
        found = {child.invocation_id: child for child in await query.get_children(store, view)}
        assert [found[child].status for child in (first, sent, last)] == ["completed", "completed", "suspended"]
        assert [len(found[child].journal or ()) for child in (first, sent, last)] == [2, 1, 0]
    data = await _mother(stack)
    assert data["children"] == [sent, first, last]
    assert [child["invocation_id"] for child in data["child_workflows"]] == [sent, first, last]
    assert data["child_workflows"][0]["parent_id"] == "mother"
    assert "journal" not in data["child_workflows"][0]
    _, steps, children = (await asyncio.to_thread(stack.ok, "wf", "get", "mother")).split("\n\n")
    assert [line.split("\t")[-1] for line in steps.splitlines()] == ["CHILD", first, sent, last]
    assert [line.split("\t")[0] for line in children.splitlines()] == ["ID", sent, first, last]
    await asyncio.to_thread(stack.ok, "wf", "delete", "sent")
    assert [child["invocation_id"] for child in (await _mother(stack))["child_workflows"]] == [first, last]


async def _mother(stack):
    return json.loads(await asyncio.to_thread(stack.ok, "wf", "get", "mother", "--json"))


async def _waits_deep(store):
    """Until the last child of the parent waits itself."""
    view = await query.get_workflow(store, "mother")
    children = await query.get_children(store, view)
    return len(children) == 3 and [c.status for c in children] == ["completed", "completed", "suspended"]
