"""The dashboard and /docs in headless Chromium; skipped where none is installed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from helpers.browser import DESKTOP, NARROW, PHONE
from helpers.dashboard import HANDLERS, approval, dashboard, delivery, greeting, location, refused
from helpers.in_process import provisioned_store, running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.storage.connection.store import Store

TOKEN = "sesame-sesame-sesame"  # noqa: S105  # of a server that lives as long as the test


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with provisioned_store(settings) as store:
        yield store


async def test_counts_and_rows_cover_all_workflows_and_counts_filter(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await wait_for_outcome(store, await start_workflow(store, greeting, "Ada", id="well"))
        await wait_for_outcome(store, await start_workflow(store, refused, "Bob", id="badly"))
        await page.go("/")
        await page.shows("2 workflows", ".total")
        assert "failed" in await page.text(".facets")
        await page.press('.facets a[href="#/?status=failed"]')
        await page.shows("1 workflow\n", ".results")
        assert await page.text("tbody .id") == "badly"
        assert await location(page) == "#/?status=failed"
        await page.press('.facets a[href*="handler=greeting"]')
        await page.shows("No workflow matches.")
        await page.value("history.back()")
        await page.shows("badly", "tbody")


async def test_link_with_filters_shows_the_filtered_list(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        for name in ("one", "two"):
            await wait_for_outcome(store, await start_workflow(store, refused, name, id=f"id-{name}"))
        await page.go("/#/?error=refused%20two&since=1h")
        await page.shows("1 workflow\n", ".results")
        assert await page.text("tbody .id") == "id-two"
        assert await page.value("document.querySelector('[name=error]').value") == "refused two"
        await page.press('[name="since"]')
        await page.value("document.querySelector('[name=since]').select()")
        await page.type("yesterdayish")
        await page.key("Enter")
        await page.shows("yesterdayish", ".problem")


async def test_the_next_page_is_a_link(settings, store, tmp_path):
    async with dashboard(settings, tmp_path) as page:
        await asyncio.gather(*(start_workflow(store, greeting, "x", id=f"id-{number}") for number in range(51)))
        await page.go("/")
        await page.shows("51 workflows", ".total")
        await page.press(".pages a")
        await page.shows("Newest", ".pages")
        await wait_until(lambda: page.value("document.querySelectorAll('tbody tr').length === 1"))
        assert "cursor=" in await location(page)


async def test_changes_are_pushed_to_the_list(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await page.go("/")
        await page.shows("live", "#connection")
        await start_workflow(store, approval, "Ada", id="waits")
        await page.shows("waiting for the awakeable approved", "tbody")
        await control.cancel(store, "waits", "no longer")
        await page.shows("cancelled", "tbody .state")
        await page.shows("no longer", "tbody")


@pytest.mark.usefixtures("store")
async def test_missing_workflow_is_shown_as_an_error(settings, tmp_path):
    async with dashboard(settings, tmp_path) as page:
        await page.go("/#/workflow/no%one")
        await page.shows("✗", ".problem")
        await page.go("/#/workflow/nobody")
        await page.shows("There is no workflow nobody", ".problem")


async def test_the_keyboard_finds_every_place_and_its_focus_is_seen(settings, store, tmp_path):
    async with dashboard(settings, tmp_path) as page:
        await start_workflow(store, greeting, "Ada", id="waits")
        await page.go("/")
        await page.shows("waits", "tbody")
        seen = []
        for _ in range(20):
            await page.key("Tab")
            seen.append(await page.value("document.activeElement.textContent"))
            assert await page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            if seen[-1] == "waits":
                break
        assert seen[0] == "Skip to the content"
        assert {"Workflows", "API", "… pending1", "greeting1", "Filter", "waits"} <= set(seen)
        await page.key("Enter")
        await page.shows("no live processor has registered", ".situation")


async def test_browser_asks_for_the_token_and_sends_it_always(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path, token=TOKEN) as page:
        await start_workflow(store, approval, "Ada", id="waits")
        await page.answer_prompts(TOKEN)
        await page.go("/#/workflow/waits")
        await page.shows("live", "#connection")
        await page.press(".buttons .danger")
        await page.press("dialog .danger")
        await page.shows("cancelled", ".head .status")


@pytest.mark.parametrize("size", [NARROW, PHONE, DESKTOP])
async def test_no_page_is_wider_than_its_window(settings, store, tmp_path, size):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await start_workflow(store, delivery, "Ada" * 200, id="long-" + "x" * 100)
        await page.look(size, dark=True)
        await page.go("/")
        await page.shows("retrying", "tbody")
        assert await page.overflow() == 0
        await page.press("tbody a")
        await page.shows("retrying", ".head")
        await page.press(".payloads summary")
        assert await page.overflow() == 0
        await page.go("/docs")
        await page.press(".route summary")
        await page.shows("With curl")
        assert await page.overflow() == 0


async def test_page_reports_lost_nats_server_and_recovers(tmp_path):
    with EmbeddedServer(tmp_path / "nats") as server:
        settings = Settings(url=server.url, timeout=5)
        async with provisioned_store(settings) as store:
            await start_workflow(store, greeting, "Ada", id="waits")
        async with dashboard(settings, tmp_path) as page:
            await page.go("/")
            await page.shows("live", "#connection")
            server.stop()
            await page.shows("NATS is out of reach", "#connection")
            assert "waits" in await page.text("tbody")
            server.start()
            await page.shows("live", "#connection")


@pytest.mark.usefixtures("store")
async def test_the_api_is_described_and_tried_without_leaving_the_server(settings, tmp_path):
    async with dashboard(settings, tmp_path) as page:
        await page.go("/docs")
        await page.shows("/api/workflows/{invocation_id}/pause")
        await page.press(".route:first-of-type summary")
        await page.shows("curl http://", ".route pre")
        await page.press(".route:first-of-type .trial button")
        await page.shows('"total": 0', ".trial pre")
        assert {url[: len(page.base)] for url in page.requested if url.startswith("http")} == {page.base}
        assert page.problems == []
