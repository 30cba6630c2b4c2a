"""Bulk jobs over HTTP, and by the SDK's client."""

from __future__ import annotations

import pytest

from durablectl import Client, control, query
from durablectl.errors import NotFoundError, UsageError
from helpers.http_api import http_api
from helpers.in_process import running_processor
from helpers.operations import UNSERVED_HANDLER
from helpers.workflow_runs import start_workflow, wait_for_outcome


async def pending(store, number):
    return [await start_workflow(store, UNSERVED_HANDLER, id=f"w{index}") for index in range(number)]


async def test_job_is_started_followed_and_steered_over_http(settings, store):
    await pending(store, 3)
    await control.pause(store, "w0")
    async with http_api(settings) as http:
        answer = await http.post(
            f"/api/jobs?operation=pause&handler={UNSERVED_HANDLER}&rate=0.01&operation_reason=lunch"
        )
        assert (answer.status, answer.json["total"], answer.json["waits_for_processor"]) == (202, 2, True)
        job_id = answer.json["job_id"]
        assert answer.headers["Location"] == f"/api/jobs/{job_id}"
        assert (await http.post(f"/api/jobs/{job_id}/pause")).json["changed"] is True
        assert (await http.get(f"/api/jobs/{job_id}")).json["status"] == "paused"
        assert (await http.post(f"/api/jobs/{job_id}/resume")).status == 200
        assert (await http.post(f"/api/jobs/{job_id}/cancel?reason=enough")).status == 200
        assert (await http.post(f"/api/jobs/{job_id}/cancel")).json["changed"] is False
        assert (await http.post(f"/api/jobs/{job_id}/resume")).status == 409
        listed = await http.get("/api/jobs?status=cancelled")
        assert [each["job_id"] for each in listed.json["jobs"]] == [job_id]
        assert (await http.get("/api/jobs?status=running")).json["jobs"] == []


async def test_job_over_many_is_selected_behind_the_answer(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.system.job_selection.SELECTED_AT_ONCE", 2)
    await pending(store, 3)
    async with http_api(settings) as http:
        answer = await http.post(f"/api/jobs?operation=pause&handler={UNSERVED_HANDLER}")
        assert (answer.status, answer.json["total"], answer.json["is_selecting"]) == (202, 0, True)
        async with running_processor(settings, runs_jobs=True):
            await wait_for_outcome(store, answer.json["job_id"])
        ended = (await http.get(f"/api/jobs/{answer.json['job_id']}")).json
        assert (ended["total"], ended["changed"], ended["is_selecting"]) == (3, 3, False)


async def test_reports_come_in_pages_over_http(settings, store):
    job_id = await control.start_job(store, "pause", [f"none{index}" for index in range(25)])
    async with running_processor(settings, runs_jobs=True), http_api(settings) as http:
        await wait_for_outcome(store, job_id)
        first = (await http.get(f"/api/jobs/{job_id}/reports?limit=20")).json
        assert (len(first["reports"]), first["next_offset"]) == (20, 20)
        rest = (await http.get(f"/api/jobs/{job_id}/reports?offset=20")).json
        assert (len(rest["reports"]), rest["next_offset"]) == (5, None)
        assert len({each["invocation_id"] for each in first["reports"] + rest["reports"]}) == 25
        assert (await http.get(f"/api/jobs/{job_id}/reports?outcome=skipped")).json["reports"] == []


@pytest.mark.parametrize(
    ("query_text", "status", "code"),
    [
        ("", 400, "usage"),
        ("operation=pause", 400, "usage"),
        ("operation=explode&handler=x", 400, "usage"),
        ("operation=pause&handler=nothing", 404, "not_found"),
        ("operation=pause&handler=x&rate=-1", 400, "usage"),
        ("operation=pause&unknown=x", 400, "usage"),
    ],
)
async def test_job_that_cannot_be_started_is_refused(settings, store, query_text, status, code):
    async with http_api(settings) as http:
        answer = await http.post(f"/api/jobs?{query_text}")
        assert (answer.status, answer.error["code"]) == (status, code)
        assert (await http.get("/api/jobs/none")).status == 404
        assert (await http.get("/api/jobs")).json["total"] == 0
    assert (await query.list_jobs(store)).total == 0


async def test_client_starts_and_follows_a_job(settings, store):
    await pending(store, 4)
    async with (
        running_processor(settings, runs_jobs=True),
        Client(url=settings.url, namespace=settings.namespace) as client,
    ):
        job_id = await client.start_job("cancel", handler=UNSERVED_HANDLER, operation_reason="closed", actor="nightly")
        views = [view async for view in client.watch_job(job_id)]
        assert (views[-1].status, views[-1].progress.changed) == ("completed", 4)
        assert (await client.get_job(job_id)).to_json()["actor"] == "nightly"
        again = await client.start_job("cancel", ["w0", "w1", "nowhere"])
        await wait_for_outcome(store, again)
        assert [report.invocation_id async for report in client.job_reports(again)] == ["nowhere"]
        assert {view.job_id for view in (await client.list_jobs()).jobs} == {job_id, again}
        with pytest.raises(UsageError, match="Nothing says which"):
            await client.start_job("delete")
        with pytest.raises(UsageError, match="one of them"):
            await client.start_job("delete", ["w0"], status="failed")
        with pytest.raises(NotFoundError, match="No workflow matches"):
            await client.start_job("delete", handler="nothing")
