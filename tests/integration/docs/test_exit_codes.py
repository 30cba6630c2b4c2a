"""Every exit code that the README lists, from the real command line."""

from __future__ import annotations

import asyncio
import json
import re
import secrets

import pytest

from durablectl import control
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from helpers.in_process import running_processor
from helpers.operations import UNSERVED_HANDLER, asking, paying, quick
from helpers.paths import ROOT
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_outcome

README = (ROOT / "README.md").read_text(encoding="utf-8")

CODES = [
    # exit code, command line, code of the error with --json; "" where there is no error
    (0, "wf start nobodys", ""),
    (0, "wf list --status failed", ""),
    (0, "wf result done", ""),
    (0, "wf pause paused", ""),
    (0, "wf cancel --handler nothing --yes", ""),
    (1, "doctor", ""),
    (1, "wf list --context nowhere --nats-url nats://127.0.0.1:1", "configuration"),
    (1, "wf start quick --input -", "payload_too_large"),
    (1, "run processor nowhere.py", "app"),
    (2, "wf list --status done", "usage"),
    (2, "wf lst", "usage"),
    (2, "wf get a.b", "invalid_name"),
    (2, "wf start quick --input nonsense", "invalid_value"),
    (2, "wf delete --status failed", "usage"),
    (2, "wf list --creds nowhere.creds", "usage"),
    (3, "wf get nowhere", "not_found"),
    (3, "wf cancel nowhere", "not_found"),
    (3, "schedule get nowhere", "not_found"),
    (3, "wf list --namespace nowhere", "not_provisioned"),
    (4, "wf list --nats-url nats://127.0.0.1:1", "cannot_connect"),
    (5, "wf result waiting --timeout 50ms", "timed_out"),
    (5, "wf start nobodys --wait --timeout 50ms", "timed_out"),
    (6, "wf pause paused nowhere", ""),
    (6, "wf delete alone done-too", ""),
    (7, "wf resume done", "invalid_state"),
    (7, "wf delete waiting", "invalid_state"),
    (7, "wf start quick --id done", "already_exists"),
    (7, "schedule create yearly quick --every 1h", "already_exists"),
    (10, "wf result failed", "workflow_failed"),
    (10, "wf watch failed --exit-status", ""),
    (11, "wf result cancelled", "workflow_cancelled"),
    (11, "wf watch cancelled --exit-status", ""),
]
PRINTS_THE_WORKFLOW = {"workflow_failed", "workflow_cancelled"}


@pytest.fixture(scope="module")
def world(nats_server):
    """The environment of a namespace with a workflow in each state, whose processor is gone."""
    settings = Settings(url=nats_server.url, namespace=f"x{secrets.token_hex(3)}", timeout=30)
    asyncio.run(_prepare(settings))
    return {"NATS_URL": settings.url, "DURABLECTL_NAMESPACE": settings.namespace}


async def _prepare(settings):
    async with running_processor(settings, quick, paying, asking), open_store(settings) as store:
        for invocation_id in ("done", "done-too"):
            await run_to_end(store, quick, "k", id=invocation_id)
        await run_to_end(store, paying, "k", id="failed")
        await start_workflow(store, asking, "k", id="cancelled")
        await control.cancel(store, "cancelled")
        await wait_for_outcome(store, "cancelled")
        await start_workflow(store, UNSERVED_HANDLER, id="waiting")
        await start_workflow(store, UNSERVED_HANDLER, id="alone")
        await start_workflow(store, UNSERVED_HANDLER, id="paused")
        await control.pause(store, "paused")
        await control.create_schedule(store, "yearly", quick.name, every=365 * 86_400)


@pytest.mark.parametrize(("code", "line", "error"), CODES, ids=[f"{code} {line}" for code, line, _ in CODES])
def test_an_exit_code(cli, world, code, line, error):
    text = f'"{"x" * 1_100_000}"' if line.endswith("--input -") else None
    done = cli(*line.split(), env=world, input=text)
    assert done.returncode == code, done.stderr
    if error:
        assert done.stdout == ""
        assert re.search(r"^Error: [A-Z-].*", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("code", "line", "error"),
    [row for row in CODES if row[2] and "run processor" not in row[1]],
    ids=str,
)
def test_json_keeps_the_exit_code_and_names_an_error_code(cli, world, code, line, error):
    text = f'"{"x" * 1_100_000}"' if line.endswith("--input -") else None
    done = cli(*line.split(), "--json", env=world, input=text)
    assert done.returncode == code, done.stderr
    if error in PRINTS_THE_WORKFLOW:
        assert (json.loads(done.stdout)["invocation_id"], done.stderr) == (line.split()[2], "")
    else:
        assert done.stdout == ""
        assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == error


@pytest.mark.parametrize("line", ["wf tail", "wf watch waiting", "wf result waiting", "wf start nobodys --wait"])
async def test_interrupted(spawn, world, line):
    """The debug lines of -v tell when it waits."""
    process = spawn(*line.split(), "-v", env=world)
    await wait_until(lambda: process.err().count("CONSUMER.CREATE"))
    process.interrupt()
    assert process.wait(60) == 130
    assert "Traceback" not in process.err()


def test_these_are_all():
    (told,) = re.findall(r"^Exit codes: (.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    assert {int(code) for code in re.findall(r"\b\d+\b", told)} == {code for code, *_ in CODES} | {130}
