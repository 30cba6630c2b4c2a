"""`wf diff` on real workflows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

import pexpect

from durablectl import Context, Retry, query, workflow
from durablectl.query import compare
from helpers.in_process import provisioned_store, running_processor
from helpers.sample_stack import PROGRAM
from helpers.workflow_runs import run_to_end

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@workflow(name="order")
async def order(ctx: Context, cart: dict) -> dict:
    def pay(amount):
        if amount > 100:
            raise ValueError("no money")
        return {"paid": amount, "receipt": {"number": amount}}

    await ctx.step(abs, 3)
    paid = await ctx.step(pay, cart["amount"], retry=Retry(initial=0.01, max_attempts=2))
    return {"cart": cart, **paid}


async def test_real_runs_and_exit_codes(settings, cli, environment):
    async with provisioned_store(settings) as store, running_processor(settings, order):
        for name, amount in (("a", 1), ("b", 2), ("c", 1000)):
            await run_to_end(store, order, {"amount": amount}, id=name)
        a, b = [await query.get_workflow(store, name) for name in ("a", "b")]
        first = compare(a, b).divergence
        assert first is not None
        assert [change.to_json() for change in first.result] == [
            {"path": ".paid", "only_in": None, "a": 1, "b": 2},
            {"path": ".receipt.number", "only_in": None, "a": 1, "b": 2},
        ]
    done = await asyncio.to_thread(cli, "wf", "diff", "a", "c", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["first_divergence"]["differs_in"] == ["request", "error"]
    assert answer["differing_steps"] == [1]
    assert answer["steps"] is None
    assert json.loads((await asyncio.to_thread(cli, "wf", "diff", "a", "c", "--json", "--full")).stdout)["steps"]
    assert (await asyncio.to_thread(cli, "wf", "diff", "a", "a")).returncode == 0
    for missing in (("a", "nope"), ("nope", "a")):
        done = await asyncio.to_thread(cli, "wf", "diff", *missing)
        assert (done.returncode, done.stdout) == (3, "")
        assert "There is no workflow nope." in done.stderr
    for columns, encoding in ((80, "utf-8"), (120, "ascii")):
        env = {**os.environ, **environment, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": encoding}
        child = pexpect.spawn(
            sys.executable, [*PROGRAM[1:], "wf", "diff", "a", "c"], env=env, dimensions=(40, columns),
            encoding="utf-8", timeout=60,
        )  # fmt: skip
        await asyncio.to_thread(child.expect, pexpect.EOF)
        child.close()
        lines = CONTROL.sub("", child.before).replace("\r", "").splitlines()
        assert "First divergence: step 1 pay  request, error" in lines
        assert all(len(line) <= columns for line in lines)
        assert encoding == "utf-8" or child.before.isascii()
