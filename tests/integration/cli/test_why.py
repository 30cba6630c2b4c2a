"""`wf why` of real workflows."""

from __future__ import annotations

import asyncio
import json
import re

from durablectl import Context, Retry, TerminalError, control, query, workflow
from durablectl.cli.render.why import verdict
from durablectl.cli.render.why_evidence import evidence, remedies
from durablectl.query import StatusCause
from durablectl.storage.records import leases
from durablectl.storage.records.leases import Lease
from helpers.in_process import provisioned_store, running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome, wait_for_status


@workflow(name="pay")
async def pay(ctx: Context, amount: int) -> int:
    def charge(amount):
        raise ValueError(f"no money for {amount}")

    await ctx.step(abs, amount, name="check")
    return await ctx.step(charge, amount, retry=Retry(initial=0.01, max_attempts=2))


@workflow(name="refused")
async def refused(ctx: Context, amount: int) -> int:
    def refuse(_):
        raise TerminalError("the order is closed")

    return await ctx.step(refuse, amount)


@workflow(name="limited", timeout=1.5)
async def limited(ctx: Context) -> None:
    await ctx.awakeable("approval")


@workflow(name="asking")
async def asking(ctx: Context) -> None:
    await ctx.awakeable("approval")


@workflow(name="above")
async def above(ctx: Context) -> None:
    await ctx.invoke(asking)


@workflow(name="troubled")
async def troubled(ctx: Context, amount: int) -> None:
    await ctx.invoke(pay, amount)


@workflow(name="slow")
async def slow(ctx: Context) -> None:
    await ctx.step(asyncio.sleep, 60, name="work")


@workflow(name="trying")
async def trying(ctx: Context, amount: int) -> None:
    def fail(_):
        raise ValueError("database is locked")

    await ctx.step(fail, amount, retry=Retry(initial=60, max_attempts=None))


async def test_why_of_real_workflows(settings):
    async with (
        provisioned_store(settings) as store,
        running_processor(settings, pay, refused, limited, asking, above, troubled, trying),
    ):

        async def say(invocation_id):
            found = await query.explain_workflow(store, invocation_id)
            return found.cause, verdict(found, found.view.updated_at), [each.command for each in remedies(found)]

        view = await run_to_end(store, pay, 3, id="p")
        assert view.status == "failed"
        cause, sentence, then = await say("p")
        assert cause is StatusCause.STEP_FAILED
        assert sentence == "It failed because step 1 charge failed after 2 attempts: ValueError: no money for 3."
        assert then[0] == "durablectl wf retry p"

        await run_to_end(store, refused, 3, id="r")
        found = await query.explain_workflow(store, "r")
        assert found.is_final

        await run_to_end(store, limited, id="l")
        cause, sentence, _ = await say("l")
        assert cause is StatusCause.TIMED_OUT
        assert sentence.startswith("It failed by its own time limit, while step 0 awakeable:approval was still waiting")

        await start_workflow(store, above, id="a")
        child = (await wait_for_status(store, "a", "suspended")).waiting_for.awaited_id
        await wait_for_status(store, child, "suspended")
        cause, sentence, then = await say("a")
        assert sentence.endswith("Of that child: It is waiting for the awakeable approval.")
        assert then[0] == f"durablectl wf resolve {child}.approval --data JSON"
        await control.cancel(store, "a", "no longer wanted")
        await wait_for_status(store, child, "cancelled")
        await wait_for_status(store, "a", "cancelled")
        assert (await say("a"))[:2] == (StatusCause.CANCELLED, "It was cancelled by an operator: no longer wanted.")
        assert (await say(child))[:2] == (
            StatusCause.CANCELLED_WITH_PARENT,
            "It was cancelled because its parent a was.",
        )

        await run_to_end(store, troubled, 3, id="t")
        cause, sentence, _ = await say("t")
        assert " did. Of that child: It failed because step 1 charge failed after 2 attempts" in sentence

        await start_workflow(store, trying, 3, id="y")
        await wait_for_status(store, "y", "suspended")
        cause, sentence, _ = await say("y")
        assert cause is StatusCause.RETRYING
        assert re.fullmatch(r"Step 0 fail has failed 1 time, the next attempt is in .*: database is locked\.", sentence)

        await control.pause(store, "y", "the database is down")
        assert (await say("y"))[:2] == (StatusCause.PAUSED, "It was paused by an operator: the database is down.")


async def test_why_names_missing_processor(settings):
    async with provisioned_store(settings) as store:
        for number in range(3):
            await start_workflow(store, "slow", id=f"s{number}")
        found = await query.explain_workflow(store, "s2")
        assert (found.cause, found.live.pending_before) == (StatusCause.NO_PROCESSOR, 2)
        await leases.renew(store, Lease("full-1", ["slow"], slots=2, busy=2))
        found = await query.explain_workflow(store, "s2")
        assert (found.cause, found.live.pending_before) == (StatusCause.BUSY, 2)
        await leases.renew(store, Lease("free-1", ["slow"], slots=2, busy=1))
        assert (await query.explain_workflow(store, "s2")).cause is StatusCause.STARTING
        async with running_processor(settings, slow, max_concurrent=1):
            await wait_for_status(store, "s0", "running")

            async def under_way():
                return (await query.get_workflow(store, "s0")).current_step == 0

            await wait_until(under_way)
            found = await query.explain_workflow(store, "s0")
            assert found.cause is StatusCause.RUNNING
            assert any("step 0 work was under way on" in fact.text for fact in evidence(found, found.view.updated_at))
            assert (await query.explain_workflow(store, "s2")).live.pending_before == 1


async def test_why_of_a_long_journal_finds_the_step_that_failed_early(settings):
    @workflow(name="wide")
    async def wide(ctx: Context) -> None:
        def fail(number):
            if number == 3:
                raise ValueError("the third is broken")

        once = Retry(max_attempts=1)
        await ctx.gather(*(ctx.step(fail, number, retry=once) for number in range(80)))

    async with provisioned_store(settings) as store, running_processor(settings, wide):
        await start_workflow(store, wide, id="w")
        await wait_for_outcome(store, "w")
        found = await query.explain_workflow(store, "w")
        assert found.step is not None
        assert (found.step.step_number, found.step.error) == (3, "the third is broken")


async def test_the_command_in_json_and_its_exit_codes(settings, cli):
    async with provisioned_store(settings) as store, running_processor(settings, pay):
        await run_to_end(store, pay, 3, id="p")
    found = await asyncio.to_thread(cli, "wf", "why", "p", "--json")
    assert found.returncode == 0
    answer = json.loads(found.stdout)
    assert {key: answer[key] for key in ("invocation_id", "status", "cause")} == {
        "invocation_id": "p",
        "status": "failed",
        "cause": "step_failed",
    }
    assert answer["verdict"].startswith("It failed because step 1 charge failed after 2 attempts")
    assert all(set(fact) == {"at", "fact"} and fact["at"].endswith("Z") for fact in answer["evidence"])
    assert answer["commands"][0] == {
        "command": "durablectl wf retry p",
        "purpose": "go on from step 1, once the cause is mended",
    }
    found = await asyncio.to_thread(cli, "wf", "why", "p", "--namespace", settings.namespace)
    assert f"Command\tdurablectl wf retry p --namespace {settings.namespace}\t" in found.stdout
    found = await asyncio.to_thread(cli, "wf", "why", "nope")
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr.startswith("Error: There is no workflow nope.")
