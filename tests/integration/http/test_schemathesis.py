"""schemathesis against the running server: no server error, and no answer that /openapi.json does not tell of.

It is no test dependency, as it brings a dozen packages: `pip install schemathesis`, then `-m tools`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from helpers.waiting import wait_until

PROGRAM = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
LEFT_OUT = "positive_data_acceptance"
"""No schema can say that `since` lies before `until`, whose cursor it is, or that a revision is stale."""
STREAMS = "/events$"
"""They do not end."""


@pytest.mark.tools
@pytest.mark.timeout(300)
@pytest.mark.skipif(PROGRAM is None, reason="schemathesis is not installed")
async def test_no_request_is_answered_otherwise_than_documented(spawn, cli):
    cli("wf", "start", "nobodys")
    server = spawn("serve-api", "--http-port", "0", "--log-level", "info")
    await wait_until(lambda: "listens on" in server.err())
    url = server.err().partition("listens on ")[2].split()[0].rstrip(".")
    options = ["--exclude-checks", LEFT_OUT, "--exclude-path-regex", STREAMS, "--generation-database", "none"]
    command = [str(PROGRAM), "run", f"{url}/openapi.json", *options, "--continue-on-failure", "--max-time", "30"]
    tester = spawn(command=command)
    await wait_until(lambda: tester.poll() is not None, 280, every=0.2)
    assert tester.returncode == 0, tester.out()[-6000:]
