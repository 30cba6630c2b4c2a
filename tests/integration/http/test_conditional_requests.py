"""Idempotency-Key and If-Match: what is sent twice happens once, and what has changed is not changed unseen."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import control, query
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.workflow_runs import start_workflow

START = "/api/workflows/nobodys/invoke"


@pytest.fixture
async def store(settings):
    async with provisioned_store(settings) as store:
        yield store


@pytest.fixture
async def http(store):
    async with http_api(store.settings) as http:
        yield http


def keyed(http, body="user-001", key="first", target=START):
    return http.post(target, body, {"Idempotency-Key": key})


async def test_the_same_key_starts_once_and_answers_the_same(http, store):
    answers = [await keyed(http, {"a": 1, "b": 2}) for _ in range(3)]
    assert {answer.status for answer in answers} == {202}
    (started,) = {answer.json["invocation_id"] for answer in answers}
    assert answers[0].headers["Location"] == f"/api/workflows/{started}"
    assert (await keyed(http, key="second")).json["invocation_id"] != started
    assert await query.count_workflows(store) == 2


async def test_the_same_key_at_once_starts_once(http, store):
    answers = await asyncio.gather(*(keyed(http) for _ in range(10)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["invocation_id"] for answer in answers}) == 1
    assert await query.count_workflows(store) == 1


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("user-002", START),
        (None, START),
        ("user-001", "/api/workflows/others/invoke"),
        ("user-001", f"{START}?partition_key=a"),
    ],
)
async def test_the_same_key_for_something_else_is_refused(http, store, body, target):
    await keyed(http)
    answer = await keyed(http, body, target=target)
    assert (answer.status, answer.error["code"]) == (409, "already_exists")
    assert "Idempotency-Key was used for another start" in answer.error["message"]
    assert await query.count_workflows(store) == 1


async def test_different_starts_with_one_key_at_once_start_one(http, store):
    answers = await asyncio.gather(*(keyed(http, number) for number in range(6)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 5
    assert await query.count_workflows(store) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_a_key_that_cannot_be_used_is_named(http, key):
    answer = await keyed(http, key=key)
    assert answer.status == 400
    assert "Idempotency-Key" in answer.error["message"]


async def test_an_id_and_a_key_are_too_much(http):
    assert (await keyed(http, target=f"{START}?id=a")).status == 400


STEERING = [("POST", verb) for verb in ("pause", "resume", "cancel", "retry", "retry?restart=true")] + [("DELETE", "")]


async def tag_of(http, invocation_id):
    return (await http.get(f"/api/workflows/{invocation_id}")).headers["ETag"]


async def ready(store, verb):
    """A workflow that can be steered so, and its path."""
    invocation_id = await start_workflow(store, "nobodys")
    if verb.startswith("resume"):
        await control.pause(store, invocation_id)
    elif not verb.startswith(("pause", "cancel")):
        await control.cancel(store, invocation_id)
    return invocation_id, f"/api/workflows/{invocation_id}/{verb}".rstrip("/")


@pytest.mark.parametrize(("method", "verb"), STEERING)
async def test_only_the_revision_that_is_known_is_changed(http, store, method, verb):
    invocation_id, target = await ready(store, verb)
    tag = await tag_of(http, invocation_id)
    revision = int(tag.strip('"').partition("-")[0])
    for stale in (f'"{revision - 1}-0"', str(revision + 1)):
        answer = await http(method, target, None, {"If-Match": stale})
        assert (answer.status, answer.error["code"]) == (412, "stale_revision"), stale
    for wrong in ("", '"abc"', "0", '"1-2", "3-4"'):
        answer = await http(method, target, None, {"If-Match": wrong})
        assert answer.status == 400
        assert "The header If-Match cannot be used" in answer.error["message"]
    assert await tag_of(http, invocation_id) == tag
    assert (await http(method, target, None, {"If-Match": f"W/{tag}"})).status == 200


@pytest.mark.parametrize(("method", "verb"), STEERING)
async def test_of_two_with_the_same_tag_one_wins(http, store, method, verb):
    invocation_id, target = await ready(store, verb)
    headers = {"If-Match": await tag_of(http, invocation_id)}
    answers = await asyncio.gather(*(http(method, target, None, headers) for _ in range(2)))
    gone = 404 if method == "DELETE" else 412
    assert sorted(answer.status for answer in answers) in ([200, 412], [200, gone])
