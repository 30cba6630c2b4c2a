"""`wf stats`, `wf get --steps` and the queries of Client."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from durablectl import Client
from durablectl.cli.render.journal import journal_part, journal_table
from durablectl.cli.render.stats import stats_lines, stats_table
from durablectl.cli.render.status_sentence import status_sentence
from durablectl.errors import NotFoundError, UsageError
from durablectl.query import StatsView
from helpers import views
from helpers.listed_namespace import LONG, TOTAL, filled_namespace, stack_of
from helpers.views import NOW


@pytest.fixture(scope="module")
def filled(nats_server):
    return filled_namespace(nats_server)


@pytest.fixture
def stack(filled):
    return stack_of(filled)


def test_stats_in_a_pipe_and_as_json(stack):
    rows = [line.split("\t") for line in stack.ok("wf", "stats").splitlines()]
    assert rows[0] == ["BY", "NAME", "COUNT"]
    assert ["handler/status", "pay/failed", "6"] in rows
    assert ["total", "", str(TOTAL)] in rows
    (oldest,) = (row for row in rows if row[0].startswith("oldest-active"))
    assert oldest[:2] == ["oldest-active/running", "long"]
    assert 460 * 3600 <= int(oldest[2]) < 461 * 3600
    stats = json.loads(stack.ok("wf", "stats", "--json"))
    assert stats["by_handler_status"]["ship"] == {"completed": 4}
    assert stats["oldest_active"]["invocation_id"] == "long"
    assert (stats["completed_per_minute"], stats["completed_per_minute_last_hour"]) == (0.2, round(1 / 60, 2))
    assert stats["set_aside"] == 0


def test_status_counts_use_the_available_width():
    statuses = ["completed", "running", "failed", "suspended", "pending"]
    counts = {"checkout": dict.fromkeys(statuses, 10), "ship": {"completed": 2}}
    stats = StatsView(52, dict.fromkeys(statuses, 10) | {"completed": 12}, {"checkout": 50, "ship": 2}, counts)

    def header(width: int) -> list[str]:
        lines = stats_table(stats, NOW, width).plain.splitlines()
        assert all(len(line) <= width for line in lines if "per minute" not in line)
        return next(line for line in lines if "HANDLER" in line).split()[2:]

    assert header(120) == [*statuses, "SHARE"]
    assert header(70) == statuses
    assert header(60) == ["✓", "▶", "✗", "☾", "…"]
    assert header(36) == []
    one = StatsView(2, {"completed": 2}, {"ship": 2}, {"ship": {"completed": 2}})
    assert "HANDLER  COUNT  SHARE" in stats_table(one, NOW, 120).plain


@pytest.mark.parametrize(
    ("rate", "told"),
    [(0, "none"), (0.0166, "0.017"), (0.999, "1"), (1.25, "1.2"), (9.99, "10.0"), (1234.5, "1,234")],
)
def test_the_rate_of_completions(rate, told):
    stats = StatsView(2, {"completed": 2}, {"ship": 2}, {"ship": {"completed": 2}}, None, rate, 30)
    expected = f"2 workflows, {told} completed per minute (30 in the last hour)"
    assert expected in stats_table(stats, NOW, 80).plain


def test_stats_of_nothing():
    nothing = StatsView(0, {}, {}, {})
    assert stats_table(nothing, NOW, 80).plain == "No workflows."
    rates = ["completed-per-minute\t\t0.0", "completed-per-minute/last-hour\t\t0.0"]
    assert stats_lines(nothing, NOW).splitlines() == ["BY\tNAME\tCOUNT", "total\t\t0", *rates]
    aside = StatsView(0, {}, {}, {}, set_aside=1)
    assert "1 command set aside" in stats_table(aside, NOW, 80).plain


@pytest.mark.parametrize(
    ("args", "expected", "told"),
    [
        ([], range(LONG - 50, LONG), "9,950 to 9,999 of 10,000"),
        (["--steps", "0:20"], range(20), "0 to 19 of 10,000"),
        (["--steps", "-10:"], range(LONG - 10, LONG), "9,990 to 9,999 of 10,000"),
        (["--steps", ":3"], range(3), "0 to 2 of 10,000"),
        (["--steps", "5"], range(5, 6), "5 of 10,000"),
        (["--steps", "-1"], range(LONG - 1, LONG), "9,999 of 10,000"),
        (["--steps", "20000:"], range(0), "none of 10,000"),
        (["--steps", ":"], range(LONG), None),
    ],
)
def test_get_shows_a_part_of_a_long_journal(stack, args, expected, told):
    found = json.loads(stack.ok("wf", "get", "long", *args, "--json"))
    assert [step["step_number"] for step in found["journal"]] == [*expected]
    assert found["journal_length"] == LONG
    assert not expected or found["journal_start"] == expected.start
    facts, _, steps = stack.ok("wf", "get", "long", *args).partition("\n\n")
    assert dict(line.split("\t", 1) for line in facts.splitlines()).get("Steps") == told
    assert len(steps.splitlines()) == (len(expected) + 1 if expected else 0)


def test_partial_journal_is_marked_and_counts_the_rest():
    steps = [views.step(n) for n in range(6, 9)]
    last = views.workflow(
        "running",
        journal=steps,
        journal_start=6,
        journal_length=9,
        total_steps=10,
        current_step=9,
        current_step_type="charge",
    )
    lines = journal_table(last, NOW, 80).plain.splitlines()
    assert lines[0] == "  steps 6 to 8 of 9, see --steps"
    assert [line.split()[1] for line in lines[2:]] == ["6", "7", "8", "9"]
    first = views.workflow("running", journal=steps, journal_start=0, journal_length=9, total_steps=9)
    assert status_sentence(first, NOW) == "running, 9 steps done"
    middle = views.workflow("running", journal=steps, journal_length=20, total_steps=21, current_step=20)
    assert len(journal_table(middle, NOW, 80).plain.splitlines()) == 2 + 3, "the current step is not next to these"
    assert journal_part(views.COMPLETED) == ""


async def ids(listing) -> list[str]:
    return [view.invocation_id for view in (await listing).workflows]


async def test_the_client_has_the_same_filters(filled):
    async with Client(url=filled.url, namespace=filled.namespace) as client:
        listing = client.list_workflows
        assert await ids(listing(since=timedelta(hours=46), until=timedelta(hours=29))) == ["f3", "c2", "f4", "c3"]
        some_time_ago = datetime.now(UTC) - timedelta(hours=35)
        assert await ids(listing(status="failed", since=some_time_ago)) == ["f1", "f2", "f3"]
        assert await ids(listing(status=["failed"], since=some_time_ago.astimezone().replace(tzinfo=None))) == [
            "f1",
            "f2",
            "f3",
        ]
        assert await ids(listing(created_since=timedelta(hours=85), created_until=timedelta(hours=74))) == [
            "c1",
            "f2",
        ]
        assert await ids(listing(error="asleep", oldest_first=True)) == ["f6", "f4", "f2"]
        assert await ids(listing(parent="parent", partition_key="p0")) == ["c2"]
        assert await ids(listing(until=datetime(1960, 1, 1, tzinfo=UTC))) == []
        page = await listing(status="failed", limit=4)
        assert (page.total, await ids(listing(status="failed", cursor=page.next_cursor))) == (6, ["f5", "f6"])
        assert await client.count_workflows(handler=["pay", "ask"], since=timedelta(hours=250)) == 7
        stats = await client.get_workflow_stats(handler="pay", since=timedelta(hours=35))
        assert (stats.total, dict(stats.by_status)) == (3, {"failed": 3})
        view = await client.get_workflow("long", steps=(-2, None))
        assert [step.step_number for step in view.journal] == [LONG - 2, LONG - 1]
        with pytest.raises(UsageError, match="since is a datetime, or a timedelta"):
            await listing(since="2h")
        with pytest.raises(UsageError, match="out of range"):
            await listing(limit=1001)
        with pytest.raises(NotFoundError):
            await client.count_workflows(parent="nope")
