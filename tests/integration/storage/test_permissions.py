"""docs/permissions.md: its configuration is loaded into a nats-server, and each user does what the document says."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from durablectl import control, query
from durablectl.storage.connection.requests import Requests
from durablectl.storage.connection.store import open_store
from helpers.in_process import running_processor
from helpers.operations import ALL, OperatorCli, busy, healed, release
from helpers.permission_server import configuration, prepare, serve
from helpers.waiting import block_until, wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.permission_server import Site

STREAMS = [
    "COMMANDS",
    "DURABLE_AUDIT",
    "DURABLE_JOBS",
    "EXECUTION_INDEX",
    "KV_DURABLE_PROCESSORS",
    "KV_EXECUTION_STATE",
]
DENIED = re.compile(
    r"Error: These credentials may not publish to \S+\.\n"
    r"Allow the NATS user to publish \"\S+\"; docs/permissions.md lists what each command needs\.\n"
)

READING = [
    "wf list",
    "wf list --count",
    "wf list -o wide --status active --handler asking --since 1h",
    "wf list --status failed --oldest-first --limit 1",
    "wf list --until 2020-01-01",
    "wf list --error money",
    "wf list --created-since 1h",
    "wf list --parent done",
    "wf list --scan",
    "wf get done",
    "wf get failed --history",
    "wf get waiting",
    "wf get paused",
    "wf get alone",
    "wf stats",
    "wf stats --since 1h",
    "wf stats --created-since 1h",
    "wf errors",
    "processors",
    "schedule list",
    "schedule get yearly",
    "jobs list",
    "wf watch done",
]
WATCHING = [
    "wf result done",
    "wf tail --since 1h --limit 1",
    "wf why alone",
]
DOCTOR = "doctor"
DIAGNOSING = [DOCTOR, "status"]
MAY = {"reader": READING, "watcher": [*READING, *WATCHING]}

CHANGING = [
    "wf start quick --input 1 --id new",
    "wf start quick --input 1 --id new --delay 1h",
    "wf start quick --input 1 --id new --wait",
    "wf pause waiting",
    "wf pause waiting --background",
    "wf resume paused",
    "wf cancel waiting",
    "wf cancel waiting --now",
    "wf retry failed",
    "wf retry failed --restart",
    "wf delete done",
    "wf signal waiting item",
    "wf resolve {awakeable} --data 1",
    "wf reject {awakeable} --error no",
    "schedule create other quick --every 1h",
    "schedule pause yearly",
    "schedule trigger yearly",
    "schedule delete yearly",
]


@pytest.fixture(scope="module", params=["", "branch"], ids=["default", "namespace"])
def site(request, tmp_path_factory) -> Iterator[Site]:
    site = serve(tmp_path_factory.mktemp("site"), request.param)
    with site.server:
        asyncio.run(prepare(site))
        assert not site.refused()
        yield site


@pytest.fixture(params=["", "branch"], ids=["default", "namespace"])
def empty_site(request, tmp_path) -> Iterator[Site]:
    site = serve(tmp_path / "site", request.param)
    with site.server:
        yield site


@pytest.mark.parametrize("user", [*MAY])
def test_readers_may_read_and_leave_nothing_behind(site, user):
    before, refused = site.condition(), site.refused()
    for line in MAY[user]:
        result = site.cli(user, line)
        assert result.exit_code == 0, (line, result.stderr)
        assert result.stdout or result.stderr
        wait_until_left_alone(site, before, line)
    assert site.refused() == refused


def wait_until_left_alone(site, before, line) -> None:
    """The server removes a consumer a moment after its reader has gone."""
    block_until(lambda: site.condition() == before, detail=lambda: (line, before, site.condition()))


@pytest.mark.parametrize("line", DIAGNOSING)
def test_a_diagnosis_needs_no_more_than_a_watcher(site, line):
    before, refused = site.condition(), site.refused()
    result = site.cli("watcher", line)
    assert result.exit_code in {0, 1}, result.stderr
    assert "workflow" in result.stdout
    wait_until_left_alone(site, before, line)
    assert site.refused() == refused


async def test_a_reader_needs_every_line(site, monkeypatch):
    asked = set()
    begin = Requests._start_request

    async def recorded(self, subject, *rest):
        if threading.current_thread() is not threading.main_thread():  # the processor's aside
            asked.add(subject)
        return await begin(self, subject, *rest)

    monkeypatch.setattr(Requests, "_start_request", recorded)
    async with running_processor(site.settings("processor"), busy), open_store(site.settings("client")) as store:
        running = await OperatorCli(store, site.settings("client")).in_flight(busy)
        for line in [*READING, f"wf get {running}"]:
            result = await asyncio.to_thread(site.cli, "reader", line)
            assert result.exit_code == 0, result.stderr
        release(running)
        await wait_for_status(store, running, "completed")
    allowed = re.search(r"^reader = \{\s*publish = \[(.*?)\]", configuration(site.namespace), re.DOTALL | re.MULTILINE)[
        1
    ]
    needless = [one for one in re.findall(r'"(.+)"', allowed) if not any(covers(one, subject) for subject in asked)]
    assert needless == ["$JS.API.INFO", "$SYS.REQ.USER.INFO"]  # asked when there are no streams


def covers(pattern: str, subject: str) -> bool:
    """As NATS matches subjects."""
    tokens = pattern.split(".")
    expected, rest = (tokens[:-1], True) if tokens[-1] == ">" else (tokens, False)
    found = subject.split(".")
    right_length = len(found) > len(expected) if rest else len(found) == len(expected)
    return right_length and all(a in {"*", b} for a, b in zip(expected, found, strict=False))


@pytest.mark.parametrize("user", [*MAY])
@pytest.mark.parametrize("line", CHANGING)
def test_readers_cannot_change_anything(site, user, line, caplog):
    before = site.condition()
    result = site.cli(user, line)
    assert (result.exit_code, result.stdout) == (4, "")
    assert DENIED.fullmatch(result.stderr), result.stderr
    assert not caplog.records
    assert site.condition() == before


def test_bulk_by_a_reader_reports_each_refusal(site):
    before = site.condition()
    result = site.cli("reader", "wf cancel --status active --yes")
    assert result.exit_code == 4
    assert {line.split("\t")[1] for line in result.stdout.splitlines()} == {"failed"}
    assert site.condition() == before


def test_refusal_is_immediate_and_one_sentence(site, cli):
    done = cli("wf", "start", "quick", "--id", "new", env=site.environment("reader"))
    assert (done.returncode, done.stdout) == (4, "")
    assert DENIED.fullmatch(done.stderr), done.stderr
    done = cli("wf", "watch", "waiting", "--json", env=site.environment("reader"))
    assert (done.returncode, done.stdout) == (4, "")
    assert '"code": "not_authorised"' in done.stderr


async def test_a_client_may_start_and_steer(site):
    refused = site.refused()
    async with (
        running_processor(site.settings("processor"), *ALL, retention=3600.0),
        open_store(site.settings("client")) as store,
    ):
        desk = OperatorCli(store, site.settings("client"))
        desk._runner = CliRunner(env=site.environment("client"))
        await desk.ok("wf", "start", "quick", "--input", "1", "--wait")
        await desk.ok("wf", "start", "quick", "--id", "later", "--delay", "1h")
        await desk.ok("wf", "cancel", "later")
        broken = await desk.start_in_status("failed")
        healed.add(broken)
        await desk.ok("wf", "retry", broken)
        await desk.ok("wf", "result", broken)
        await desk.ok("wf", "delete", broken)
        held = await desk.in_flight(busy)
        await desk.ok("wf", "pause", held)
        await desk.ok("wf", "resume", held)
        await desk.ok("wf", "cancel", held)
        await wait_for_status(store, held, "cancelled")
        asked = await desk.start_in_status("suspended")
        awakeable = (await query.get_workflow(store, asked)).waiting_for.awaited_id
        await desk.ok("wf", "resolve", awakeable, "--data", "true")
        await desk.ok("wf", "result", asked)
        asked = await desk.start_in_status("suspended")
        await desk.ok("wf", "signal", asked, "item")
        await desk.ok("wf", "cancel", asked, "--now")
        await desk.ok("schedule", "create", "often", "quick", "--every", "1s")
        await wait_until(lambda: has_fired(store, "often"))
        for change in ("pause", "resume", "trigger", "delete"):
            await desk.ok("schedule", change, "often")
        assert (await desk.cli("doctor", "--repair")).exit_code in {0, 1}
    assert site.refused() == refused


@pytest.mark.parametrize("site", ["branch"], indirect=True)
async def test_a_processor_takes_over_from_another(site, spawn):
    refused = site.refused()
    environment = site.environment("processor")
    first = spawn("run", "processor", "durablectl.demo", env=environment)
    async with open_store(site.settings("client")) as store:
        await start_workflow(store, "slow_workflow", "report", id="slow")
        await wait_for_status(store, "slow", "running")
        spawn("run", "processor", "durablectl.demo", env=environment)

        async def both_are_there() -> bool:
            return len(await query.live_processors(store)) == 2

        await wait_until(both_are_there)
        first.kill()
        assert (await wait_for_outcome(store, "slow")).output() == "report is published"
    assert site.refused() == refused


async def has_fired(store, name):
    return (await control.get_schedule(store, name)).schedule.fired


@pytest.mark.parametrize("user", [*MAY])
def test_readers_report_empty_server_and_create_nothing(empty_site, user):
    for line in MAY[user]:
        result = empty_site.cli(user, line)
        if line == "processors":
            assert (result.exit_code, result.stdout) == (0, "")
            assert result.stderr.startswith("No live processor.")
        else:
            assert (result.exit_code, result.stdout) == (3, ""), line
            assert re.fullmatch(r"Error: [A-Z][^\n]+\.\nStart a processor .*\n", result.stderr)
    assert not empty_site.condition()
    assert not empty_site.refused()


def test_readers_report_missing_namespace_and_create_nothing(site):
    before = site.condition()
    for line in [*READING, *WATCHING, *DIAGNOSING]:
        result = site.cli("admin", f"{line} --namespace nowhere")
        if line == "processors":
            assert (result.exit_code, result.stdout) == (0, "")
        else:
            assert (result.exit_code, result.stdout) == (3, ""), line
            assert "nowhere" in result.stderr
    assert site.condition() == before
    assert sorted(before) == [f"{name}_{site.namespace}" if site.namespace else name for name in STREAMS]
