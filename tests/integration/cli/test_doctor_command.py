"""`durablectl doctor` as people and scripts use it: what it prints, its exit codes, what it needs, and kill -9."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from durablectl.cli.main import app
from durablectl.cli.render.doctor import diagnosis_lines, diagnosis_table, repair_sentence
from durablectl.control import RepairReport
from durablectl.embedded import EmbeddedServer
from durablectl.query import Check, Diagnosis, Severity
from durablectl.settings import Settings
from durablectl.storage.index import index_entries
from helpers.doctor import NOW, add, agrees_with_a_scan, entries, entry, put, record, remove
from helpers.in_process import provisioned_store
from helpers.tail import no_consumers
from helpers.waiting import wait_until

READ_ONLY = """
accounts { A {
  jetstream: enabled
  users: [
    {user: admin, password: admin}
    {user: reader, password: reader, permissions: {
      publish: {allow: ["$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.>", "$JS.API.DIRECT.GET.>",
                        "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DELETE.>", "$JS.FC.>"]}
      subscribe: {allow: ["_INBOX.>"]} } }
  ] } }
"""
"""What reading needs; consumers are made and deleted for the passes through the streams."""


async def damage(store) -> None:
    records = [record(n) for n in range(4)]
    await put(store, *records)
    await remove(store, entry(store, records[0]))
    await add(store, store.subjects.index("running", NOW, "pay", "", "w1"))


async def test_doctor_reports_then_repairs_and_exits_with_0(store, cli):
    await damage(store)
    ill = cli("doctor")
    assert (ill.returncode, ill.stderr) == (1, "")
    rows = [line.split("\t") for line in ill.stdout.splitlines()]
    assert rows[0] == ["SEVERITY", "CHECK", "COUNT", "MESSAGE", "HINT", "DETAILS"]
    [row] = [row for row in rows if row[1] == "index"]
    assert row == [
        "warning",
        "index",
        "2",
        "The index differs from the workflows in 2 places.",
        "Run `durablectl doctor --repair`.",
        "1 workflow has no entry: w0; 1 entry stands beside the right one: w1",
    ]
    told = cli("doctor", "--repair", "--dry-run", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["repair"] == {
        "dry_run": True,
        "entered": 1,
        "foreign": 0,
        "removed": 1,
        "handlers": 0,
        "called": 0,
        "armed": 0,
        "kept": 0,
        "waits_named": 0,
        "streams": None,
        "commands": None,
    }
    mended = cli("doctor", "--repair")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.splitlines()[1].startswith("ok\trepair\t2\tEntered 1 workflow and removed 1 wrong entry.\t")
    well = cli("doctor", "--json")
    assert well.returncode == 0
    assert json.loads(well.stdout)["healthy"] is True
    again = cli("doctor", "--repair", "--json")
    assert (again.returncode, json.loads(again.stdout)["repair"]["entered"]) == (0, 0)


async def test_doctor_json_has_fields_for_each_problem(store, cli):
    await damage(store)
    shown = json.loads(cli("doctor", "--json").stdout)
    assert shown["healthy"] is False
    [found] = [check for check in shown["checks"] if check["name"] == "index"]
    assert found == {
        "name": "index",
        "severity": "warning",
        "message": "The index differs from the workflows in 2 places.",
        "hint": "Run `durablectl doctor --repair`.",
        "count": 2,
        "entries": 4,
        "missing": 1,
        "foreign": 0,
        "outdated": 0,
        "doubled": 1,
        "gone": 0,
        "malformed": 0,
        "unnamed_waits": 0,
    }


def test_empty_server_gives_one_sentence(cli):
    for args in (["doctor"], ["doctor", "--repair"]):
        result = cli(*args)
        assert (result.returncode, result.stdout) == (3, "")
        assert result.stderr.startswith("Error: This NATS server holds no workflows yet: ")
    assert json.loads(cli("doctor", "--json").stderr)["error"]["code"] == "not_provisioned"


def test_no_server_and_no_jetstream(cli, tmp_path):
    assert cli("doctor", "-s", "nats://127.0.0.1:1").returncode == 4
    with EmbeddedServer(tmp_path, jetstream=False) as server:
        result = cli("doctor", "-s", server.url)
    assert (result.returncode, "JetStream is not enabled" in result.stderr) == (4, True)


def test_a_dry_run_without_a_repair_is_a_mistake(runner):
    result = runner.invoke(app, ["doctor", "--dry-run"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--dry-run goes with --repair" in result.stderr


async def test_reader_permissions_allow_diagnosis_but_no_repair(tmp_path, cli, namespace):
    with EmbeddedServer(tmp_path, config=READ_ONLY) as server:
        async with provisioned_store(
            Settings(url=f"nats://admin:admin@127.0.0.1:{server.port}", namespace=namespace, timeout=30)
        ) as store:
            await put(store, *(record(n) for n in range(1200)), entered=False)
            await index_entries.add_handlers(store, ["pay"])
            reader = ("-s", server.url, "--user", "reader", "--password", "reader")
            told = cli("doctor", "--json", *reader)
            assert (told.returncode, told.stderr) == (1, "")
            [found] = [check for check in json.loads(told.stdout)["checks"] if check["name"] == "index"]
            assert found["missing"] == 1200
            refused = cli("doctor", "--repair", *reader)
            assert (refused.returncode, refused.stdout) == (4, "")
            first, second = refused.stderr.splitlines()
            assert first == "Error: These credentials may not repair: the server refused what has to be written."
            assert second.startswith(f"These credentials may not publish to durable-{namespace}.index.")
            assert await entries(store) == []
            for stream in (store.subjects.state_stream, store.subjects.index_stream):
                await wait_until(lambda stream=stream: no_consumers(store, stream))


async def test_second_repair_finishes_after_a_killed_one(store, spawn, cli):
    records = [record(n) for n in range(8000)]
    await put(store, *records[:2000])
    await put(store, *records[2000:], entered=False)
    await add(store, *(store.subjects.index("running", NOW, "pay", "", each.invocation_id) for each in records[::2]))
    before = await number_of_entries(store)
    process = spawn("doctor", "--repair")

    async def is_under_way() -> bool:
        return process.poll() is not None or before + 500 < await number_of_entries(store)

    await wait_until(is_under_way, every=0.001)
    process.kill()
    process.wait()
    assert process.returncode == -9
    assert await entries(store) != sorted(entry(store, each) for each in records)
    assert cli("doctor", "--repair").returncode == 0
    assert await number_of_entries(store) == 8000
    assert {*await entries(store)} == {entry(store, each) for each in records}
    await agrees_with_a_scan(store)


async def number_of_entries(store) -> int:
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.index_stream}")
    return info["state"]["messages"]


DIAGNOSIS = Diagnosis(
    [
        Check("connection", Severity.OK, "Connected."),
        Check("index", Severity.WARNING, "The index differs from the workflows in 2 places.", "Repair it.", 2),
        Check(
            "streams",
            Severity.ERROR,
            "1 stream is not configured as processors need it, which is said here in many words.",
            "Change it with `nats stream edit`, or start a processor.",
            1,
            {},
            ["COMMANDS: discard is old,\twanted \x1b[31mnew"],
        ),
    ]
)

GOLDEN = """\
Entered 1 workflow.

✓ connection  Connected.
! index       The index differs from the workflows in 2
              places.
              → Repair it.
✗ streams     1 stream is not configured as processors need
              it, which is said here in many words.
                COMMANDS: discard is old,\\twanted \\x1b[31mnew
              → Change it with `nats stream edit`, or start a
                processor.

1 error and 1 warning.
"""


def test_the_table():
    console = Console(file=io.StringIO(), width=62)
    console.print(diagnosis_table(DIAGNOSIS, RepairReport(entered=1), 62), soft_wrap=True)
    assert console.file.getvalue() == GOLDEN


def test_all_is_well():
    table = diagnosis_table(Diagnosis(DIAGNOSIS.checks[:1]), None, 80)
    assert table.plain == "✓ connection  Connected.\n\nAll is well."


def test_lines_for_a_pipe():
    lines = diagnosis_lines(DIAGNOSIS, None).splitlines()
    assert lines[2] == "warning\tindex\t2\tThe index differs from the workflows in 2 places.\tRepair it.\t"
    assert lines[3].endswith("\tCOMMANDS: discard is old,\\twanted \\x1b[31mnew")


@pytest.mark.parametrize(
    ("repaired", "sentence"),
    [
        (RepairReport(), "There was nothing to repair."),
        (RepairReport(is_dry_run=True), "There is nothing to repair."),
        (RepairReport(entered=1), "Entered 1 workflow."),
        (RepairReport(removed=2), "Removed 2 wrong entries."),
        (
            RepairReport(entered=1200, foreign=20, removed=1, handlers=1),
            "Entered 1,200 workflows (20 of other programs), removed 1 wrong entry and stored 1 handler name.",
        ),
        (
            RepairReport(is_dry_run=True, entered=2, handlers=3),
            "This would enter 2 workflows and store 3 handler names; nothing was changed.",
        ),
    ],
)
def test_repairs_are_summed_up_in_a_sentence(repaired, sentence):
    assert repair_sentence(repaired) == sentence


def test_its_help_imports_nothing_heavy():
    result = CliRunner().invoke(app, ["doctor", "--help"])
    assert result.exit_code == 0
    assert "--repair" in result.stdout
