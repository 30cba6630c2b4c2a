"""Lists page by page, parts of workflows, tags, and compressed answers."""

from __future__ import annotations

import gzip
import re

import pytest

from durablectl import control
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.workflow_runs import start_workflow


@pytest.fixture
async def store(settings):
    async with provisioned_store(settings) as store:
        yield store


@pytest.fixture
async def http(store):
    async with http_api(store.settings) as http:
        yield http


async def followed(http, target):
    """Each page of a list, by its Link header."""
    pages = []
    while target:
        answer = await http.get(target)
        assert answer.status == 200
        pages.append(answer.json)
        link = answer.headers.get("Link", "")
        found = re.fullmatch(r'<(/[^>]+)>; rel="next"', link)
        assert bool(found) == bool(link) == (answer.json["next_cursor"] is not None)
        target = found[1] if found else ""
    return pages


@pytest.mark.parametrize("more", ["", "&oldest_first=true", "&status=pending,failed&fields=invocation_id"])
async def test_the_links_lead_to_each_once(http, store, more):
    started = [await start_workflow(store, "nobodys") for _ in range(23)]
    pages = await followed(http, f"/api/workflows?limit=5&handler=nobodys{more}")
    assert [len(page["workflows"]) for page in pages] == [5, 5, 5, 5, 3]
    assert {page["total"] for page in pages} == {23}
    ids = [row["invocation_id"] for page in pages for row in page["workflows"]]
    assert ids == (started if "oldest" in more else started[::-1])
    assert all(len(row) == 1 for row in pages[0]["workflows"]) == ("fields" in more)


async def test_an_offset_leaves_out_the_first(http, store):
    started = [await start_workflow(store, "nobodys") for _ in range(7)]
    await control.cancel(store, started[0])
    for target in ("/api/workflows?status=active", "/api/workflows/active?"):
        answer = (await http.get(f"{target}&limit=3&offset=4")).json
        assert [row["invocation_id"] for row in answer["workflows"]] == started[2:0:-1]
        assert (answer["total"], answer["next_cursor"]) == (6, None)
    beyond = (await http.get("/api/workflows?offset=100")).json
    assert (beyond["workflows"], beyond["total"]) == ([], 7)


async def test_page_after_an_offset_continues_from_it(http, store):
    started = [await start_workflow(store, "nobodys") for _ in range(9)]
    pages = await followed(http, "/api/workflows?limit=2&offset=3")
    assert [row["invocation_id"] for page in pages for row in page["workflows"]] == started[5::-1]


async def test_fields_come_as_asked_for(http, store):
    await start_workflow(store, "nobodys", 5, id="one")
    assert (await http.get("/api/workflows/one?fields=input,%20status")).json == {"input": 5, "status": "pending"}
    (row,) = (await http.get("/api/workflows?fields=status")).json["workflows"]
    assert row == {"status": "pending"}


async def test_a_tag_that_is_known_is_answered_without_a_body(http, store):
    await start_workflow(store, "nobodys", id="one")
    tag = (await http.get("/api/workflows/one")).headers["ETag"]
    for given in (tag, f"W/{tag}", f'"0-0", {tag}', "*"):
        answer = await http.get("/api/workflows/one", {"If-None-Match": given})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    await control.pause(store, "one")
    answer = await http.get("/api/workflows/one", {"If-None-Match": tag})
    assert (answer.status, answer.json["status"]) == (200, "paused")
    assert answer.headers["ETag"] != tag


async def test_large_answers_are_compressed_for_clients_that_accept_it(http, store):
    for _ in range(20):
        await start_workflow(store, "nobodys")
    plain = await http.get("/api/workflows")
    assert "Content-Encoding" not in plain.headers
    packed = await http.get("/api/workflows", {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 5
    assert gzip.decompress(packed.body) == plain.body
    small = await http.get("/health", {"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers
