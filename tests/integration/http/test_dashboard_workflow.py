"""A workflow's page in headless Chromium; skipped where none is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from durablectl import control
from helpers.dashboard import HANDLERS, HOSTILE, approval, dashboard, delivery, family, lengthy, location, refused
from helpers.in_process import provisioned_store, running_processor
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.settings import Settings
    from durablectl.storage.connection.store import Store


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with provisioned_store(settings) as store:
        yield store


async def test_page_shows_and_updates_steps_retries_and_waits(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await start_workflow(store, delivery, "Ada", id="parcel")
        await page.go("/#/workflow/parcel")
        await page.shows("(notify, attempt 1 failed, next in ", ".situation")
        assert "retrying" in await page.text(".head .status")
        assert "no service answers" in await page.text(".steps .error")
        phases = "[...document.querySelectorAll('.track .bar')].map((bar) => bar.dataset.phase)"
        assert await page.value(phases) == ["wait", "retried", "backoff"]
        await control.cancel(store, "parcel", "lost")
        await page.shows("lost", ".situation")
        await page.press(".buttons button")
        await page.press("dialog .main")
        await page.shows("(notify, attempt ", ".situation")
        await control.pause(store, "parcel", "and followed again")
        await page.shows("paused: and followed again", ".situation")


async def test_parents_and_children_are_linked(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await start_workflow(store, family, "Ada", id="parent")
        child = (await wait_for_status(store, "parent", "suspended")).children[0]
        await page.go("/#/workflow/parent")
        await page.press(f'.facts a[href="#/workflow/{child}"]')
        await page.shows(child, ".head .id")
        await page.press('.facts a[href="#/workflow/parent"]')
        await page.shows("waiting for the child workflow", ".situation")


async def test_a_long_journal_is_shown_in_parts(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await wait_for_outcome(store, await start_workflow(store, lengthy, 60, id="long"))
        await page.go("/#/workflow/long")
        await page.shows("10 to 59 of 60 steps", ".pages")
        await page.press(".pages a")
        await page.shows("0 to 49 of 60 steps", ".pages")
        assert await page.value("document.querySelectorAll('.steps > li').length") == 50
        assert await location(page) == "#/workflow/long?steps=0:50"


async def test_hostile_inputs_and_errors_are_text(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await wait_for_outcome(store, await start_workflow(store, refused, HOSTILE, id="hostile"))
        await page.go("/")
        await page.shows("<script>", "tbody .doing")
        await page.go("/#/workflow/hostile")
        await page.shows("<img src=x", ".situation")
        await page.press(".payloads summary")
        await page.press(".steps summary")
        await page.shows("onerror", ".steps pre")
        assert await page.value("document.querySelectorAll('#main img, #main script').length") == 0
        assert await page.value("document.title") == "hostile · durablectl"
        assert page.problems == []


async def test_a_workflow_is_paused_and_resumed_by_keyboard(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await start_workflow(store, approval, "Ada", id="waits")
        await page.go("/#/workflow/waits")
        await page.shows("Pause", ".buttons")
        await page.value("[...document.querySelectorAll('.buttons button')][0].focus()")
        await page.key("Enter")
        await page.shows("Pause this workflow?", "dialog")
        await page.key("Escape")
        await wait_until(lambda: page.value("!document.querySelector('dialog')"))
        assert await page.value("document.activeElement.textContent") == "Pause"
        await page.key("Enter")
        await page.type("after the deploy")
        await page.key("Enter")
        await page.shows("paused: after the deploy", ".situation")
        assert "Paused." in await page.text("#notice")
        await page.press(".buttons button")
        await page.press("dialog .main")
        await page.shows("Resumed.", "#notice")
        await page.shows("waiting for the awakeable", ".situation")


async def test_dialog_reports_an_operation_no_longer_possible(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path) as page:
        await start_workflow(store, approval, "Ada", id="waits")
        await page.go("/#/workflow/waits")
        await page.press(".buttons button")
        await page.shows("Pause this workflow?", "dialog")
        await control.cancel(store, "waits")
        await wait_for_status(store, "waits", "cancelled")
        await page.press("dialog .main")
        await page.shows("The workflow waits is cancelled and cannot be paused.", "dialog")


async def test_a_server_that_only_reads_shows_no_buttons(settings, store, tmp_path):
    async with running_processor(settings, *HANDLERS), dashboard(settings, tmp_path, read_only=True) as page:
        await start_workflow(store, approval, "Ada", id="waits")
        await page.go("/#/workflow/waits")
        await page.shows("waiting for the awakeable", ".situation")
        assert await page.text("#read-only") == "read-only"
        assert await page.value("document.querySelectorAll('#main button').length") == 0
