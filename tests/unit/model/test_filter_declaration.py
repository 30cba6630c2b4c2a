"""Every filter is declared once: what is typed by hand elsewhere, or made of the declaration, agrees with it."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
import typer

from durablectl import query
from durablectl.cli.main import app
from durablectl.client import Client, _FilterOptions
from durablectl.errors import UsageError
from durablectl.http.asgi import create_app
from durablectl.http.backend import Backend
from durablectl.http.server_options import HttpOptions
from durablectl.model.filters import FILTERS, FilterKind, Filters, flag_of, parse_filters, to_flags
from durablectl.model.records import Execution, FailedStep, PendingWait
from durablectl.model.status import Status

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = [each.name for each in FILTERS]
DOCS = Path(__file__).parents[3] / "docs"
VALUES = {
    FilterKind.STATUS: ["failed"],
    FilterKind.HANDLER: ["checkout"],
    FilterKind.KEY: "user-001",
    FilterKind.TIME: "2026-11-22T12:00:00Z",
    FilterKind.TEXT: "card declined",
    FilterKind.ID: "parent-1",
    FilterKind.WAIT: ["retry"],
    FilterKind.STEP: "charge",
    FilterKind.PROCESSOR: "worker-1",
    FilterKind.CONDITION: '.card == "declined"',
    FilterKind.PREFIX: "one",
}
FITTING = {
    "waiting_for": {"status": Status.SUSPENDED, "waits": [PendingWait("retry", "charge", 2)]},
    "reason": {"status": Status.PAUSED, "reason": "The card declined twice."},
    "step": {"failed_step": FailedStep(3, "charge")},
    "owner": {"status": Status.RUNNING, "owner": "worker-1"},
    "input_json": {"input": {"card": "declined"}},
    "input": {"input": ["a Card Declined"]},
}
"""What an execution needs that fits these filters, by name. An input is that of a view."""


def options(*path: str) -> dict[str, object]:
    """The filter options of a command, by parameter."""
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    panels = {"Filters", "Selection"}
    return {each.name: each for each in command.params if getattr(each, "rich_help_panel", "") in panels}


def parameters(path: str) -> list[str]:
    """The query parameters of a GET route."""
    wrapped = create_app(Backend(), HttpOptions(), "1")
    while not hasattr(wrapped, "openapi"):
        wrapped = getattr(wrapped, "_app", None) or wrapped.app
    found = wrapped.openapi()["paths"][path]["get"]["parameters"]
    return [each["name"] for each in found if each["in"] == "query"]


def test_every_field_of_the_filters_is_declared_and_the_other_way_round():
    assert [each.name for each in fields(Filters) if each.compare] == [each.field for each in FILTERS]


def test_the_keywords_of_the_client_are_the_declared_filters():
    keywords = [*inspect.signature(Client.list_workflows).parameters]
    assert keywords == ["self", *NAMES, "limit", "cursor", "oldest_first"]
    assert [*_FilterOptions.__annotations__] == NAMES


@pytest.mark.parametrize("declared", FILTERS, ids=NAMES)
async def test_the_client_passes_each_filter_on(declared, monkeypatch):
    asked = []

    async def listed(_store, filters, *_, **__):
        asked.append(filters)

    monkeypatch.setattr(query, "list_workflows", listed, raising=False)
    monkeypatch.setattr(Client, "_store", None)
    value = VALUES[declared.kind]
    await Client().list_workflows(**{declared.name: NOON if declared.kind is FilterKind.TIME else value})
    given = parse_filters({declared.name: value})
    assert asked == [given] != [Filters()]


@pytest.mark.parametrize("path", [("wf", "list"), ("wf", "stats"), ("wf", "watch"), ("wf", "retry"), ("wf", "delete")])
def test_a_command_takes_every_filter(path):
    assert [name for name in options(*path) if name in NAMES] == NAMES


def test_a_list_over_http_takes_every_filter():
    assert parameters("/api/workflows")[: len(NAMES)] == NAMES


def test_statistics_over_http_take_what_the_index_answers():
    assert parameters("/api/workflows/stats") == [each.name for each in FILTERS if not each.reads_records]


@pytest.mark.parametrize("declared", FILTERS, ids=NAMES)
def test_each_filter_leaves_out_what_does_not_match(declared):
    noon = int(NOON.timestamp()) * 1_000_000
    inside, outside = (noon - 1, noon) if declared.name.endswith("until") else (noon, noon - 1)
    fits = Execution(
        "one",
        "checkout",
        status=Status.FAILED,
        error="Card declined.",
        partition_key="user-001",
        parent_id="parent-1",
        created_at=inside,
        updated_at=inside,
    )
    fits = replace(fits, **FITTING.get(declared.name, {}))
    other = Execution(
        "two", "refund", input={"card": "accepted"}, status=Status.RUNNING, created_at=outside, updated_at=outside
    )
    filters = parse_filters({declared.name: VALUES[declared.kind]})
    assert filters.match(fits)
    assert not filters.match(other)
    assert filters.needs_states == declared.reads_records


@pytest.mark.parametrize("declared", FILTERS, ids=NAMES)
def test_the_flags_of_filters_are_read_back_as_the_same(declared):
    filters = parse_filters({declared.name: VALUES[declared.kind]})
    words = to_flags(filters)
    assert words[0] == flag_of(declared.name)
    value = [words[1]] if declared.is_repeatable else words[1]
    assert parse_filters({declared.name: value}) == filters


def test_the_documents_name_every_filter():
    topic = (resources.files("durablectl.cli") / "topics" / "filters.txt").read_text(encoding="utf-8")
    http = (DOCS / "http.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"\n  {flag_of(name)} " in topic
        assert f"`{name}`" in http


def test_so_long_ago_is_counted_again_from_another_now():
    filters = parse_filters({"since": "2h", "created_until": "1h", "until": "2026-11-22T12:00:00Z"})
    noon = int(NOON.timestamp()) * 1_000_000
    moved = filters.at(noon)
    hour = 3600 * 1_000_000
    assert (moved.since, moved.until, moved.created_until) == (noon - 2 * hour, noon, noon - hour)
    with pytest.raises(UsageError, match="The --since is not before the --until"):
        filters.at(noon + 3 * hour)
