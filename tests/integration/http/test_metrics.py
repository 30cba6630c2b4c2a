"""The figures for Prometheus: of a processor, and of the HTTP API."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from durablectl import Context, Retry, TerminalError, control, workflow
from durablectl.http.routes import metrics as http_metrics
from durablectl.http.routes.metrics import HttpMetrics
from durablectl.storage.records import states
from helpers.http_api import http_api
from helpers.in_process import provisioned_store, running_processor
from helpers.index_listing import wait_for_index_group
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

QUICK = Retry(max_attempts=5, initial=0.01, jitter=0)


async def greet() -> str:
    return "hello"


@workflow
async def greeter(ctx: Context):
    return [await ctx.step(greet), await ctx.step(greet)]


@workflow
async def flaky(ctx: Context):
    tries = []

    async def third_time() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError(f"try {len(tries)}")

    await ctx.step(third_time, retry=QUICK)


@workflow
async def doomed(_: Context):
    raise TerminalError("no")


@workflow
async def sleeper(ctx: Context):
    await ctx.sleep(timedelta(hours=1))


@workflow
async def busy(ctx: Context):
    async def forever() -> None:
        await asyncio.sleep(3600)

    await ctx.step(forever)


ALL = (greeter, flaky, doomed, sleeper, busy)


def values(text: bytes) -> dict[str, float]:
    """Of each sample, by its name and labels as ``name{a,b}``, the labels in the order of their names."""
    return {
        f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_processor_metrics_count_its_work(settings):
    async with provisioned_store(settings) as store, running_processor(settings, *ALL, max_concurrent=7) as running:
        for handler in (greeter, greeter, flaky, doomed):
            await wait_for_outcome(store, await start_workflow(store, handler))
        # The end is counted once it is stored, which others may see sooner.
        await wait_until(
            lambda: values(running.processor.metrics.text())["durablectl_workflows_ended_total{doomed,failed}"]
        )
        found = values(running.processor.metrics.text())
        assert found["durablectl_slots{}"] == 7
        assert found["durablectl_workflows_started_total{greeter}"] == 2
        assert found["durablectl_workflows_ended_total{greeter,completed}"] == 2
        assert found["durablectl_workflows_ended_total{doomed,failed}"] == 1
        assert found["durablectl_workflows_ended_total{doomed,completed}"] == 0
        assert found["durablectl_step_retries_total{flaky}"] == 2
        assert found["durablectl_step_retries_total{greeter}"] == 0
        assert found["durablectl_step_duration_seconds_count{greeter,step}"] == 4
        assert found["durablectl_step_duration_seconds_sum{flaky,step}"] >= 0.02
        assert found["durablectl_step_duration_seconds_bucket{flaky,step,+Inf}"] == 1
        assert found["durablectl_command_lag_seconds_count{greeter}"] == 2
        assert found["durablectl_command_lag_seconds_sum{greeter}"] > 0
        assert found["durablectl_workflows_started_total{sleeper}"] == 0
        assert "process_resident_memory_bytes{}" in found


async def test_slots_in_use_are_those_of_now(settings):
    async with provisioned_store(settings) as store, running_processor(settings, busy, grace=0) as running:
        invocation_id = await start_workflow(store, busy)
        await wait_for_status(store, invocation_id, "running")
        assert values(running.processor.metrics.text())["durablectl_slots_in_use{}"] == 1
        await control.cancel(store, invocation_id)
        found = await wait_until(lambda: at_rest(running))
        assert found["durablectl_workflows_ended_total{busy,cancelled}"] == 1


def at_rest(running):
    found = values(running.processor.metrics.text())
    return found if found["durablectl_slots_in_use{}"] == 0 else None


async def test_workflow_owned_by_another_processor_counts_as_fence(settings):
    async with provisioned_store(settings) as store, running_processor(settings, busy, grace=0) as running:
        invocation_id = await start_workflow(store, busy)
        await wait_for_status(store, invocation_id, "running")
        await wait_until(lambda: taken_away(store, invocation_id))
        running.processor._active_runs.notify(invocation_id)
        found = await wait_until(lambda: at_rest(running))
        assert found["durablectl_fences_total{busy}"] == 1
        assert found["durablectl_workflows_ended_total{busy,cancelled}"] == 0


async def taken_away(store, invocation_id):
    """The processor may write in between: what its workflow is doing."""
    stored = await states.load(store, invocation_id)
    stored.execution.owner = "another"
    return await states.replace(store, stored.execution, stored.revision)


async def test_standalone_api_metrics_cover_requests_workflows_timers(settings):
    async with provisioned_store(settings) as store, running_processor(settings, *ALL), http_api(settings) as http:
        done, asleep = await start_workflow(store, greeter), await start_workflow(store, sleeper)
        await wait_for_index_group(store, done, "completed")
        await wait_for_index_group(store, asleep, "suspended")
        for path in ("/api/workflows", "/api/workflows/no-such-one", "/nowhere"):
            await http.get(path)
        await http("BREW", "/api/workflows")
        answer = await http.get("/metrics")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = values(answer.body)
        assert found["durablectl_nats_connected{}"] == 1
        assert found["durablectl_workflows{greeter,completed}"] == 1
        assert found["durablectl_workflows{sleeper,suspended}"] == 1
        assert found["durablectl_timers_pending{}"] == 1
        assert found["durablectl_http_requests_total{GET,/api/workflows,200}"] == 1
        assert found["durablectl_http_requests_total{GET,/api/workflows/{invocation_id},404}"] == 1
        assert found["durablectl_http_requests_total{GET,-,404}"] == 1
        assert found["durablectl_http_request_duration_seconds_count{GET,/api/workflows}"] == 1
        assert not [name for name in found if "BREW" in name or "no-such-one" in name or "nowhere" in name]
        assert "durablectl_slots{}" not in found


async def test_workflows_are_counted_every_few_seconds_only(settings, monkeypatch):
    asked = []
    counted = http_metrics.query.get_stats

    async def get_stats(store):
        asked.append(store)
        return await counted(store)

    monkeypatch.setattr(http_metrics.query, "get_stats", get_stats)
    async with provisioned_store(settings), http_api(settings) as http:
        await asyncio.gather(*(http.get("/metrics") for _ in range(5)))
        assert len(asked) == 1


async def test_metrics_require_the_token(settings):
    async with provisioned_store(settings), http_api(settings, token="correct-horse") as http:  # noqa: S106
        assert (await http.get("/metrics", {"Authorization": "Bearer wrong-horse"})).status == 401
        assert (await http.get("/metrics")).status == 200


@pytest.mark.parametrize(("method", "shown"), [("GET", "GET"), ("HEAD", "HEAD"), ("FROB", "other"), ("get", "other")])
def test_made_up_methods_count_as_one(method, shown):
    metrics = HttpMetrics()
    metrics.count_request("/x", method, 200, 0.1)
    (requests, _) = metrics.collect()
    assert requests.samples[0].labels["method"] == shown


def test_a_client_that_hung_up_counts_as_499():
    metrics = HttpMetrics()
    metrics.count_request("/x", "GET", 0, 0.1)
    (requests, _) = metrics.collect()
    assert requests.samples[0].labels["status"] == "499"
