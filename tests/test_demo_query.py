"""The example of the query side: it runs, and every command line that it shows works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from durablectl import Client
from durablectl.demo.query import ask, processing


def test_it_runs_and_leaves_nothing_behind(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "durablectl.demo.query"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "", "TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "ada: hello_workflow, completed, output 'Hello, Ada!'",
        "unlucky: Step 0 'attempt' failed after 3 attempts: 'flaky' was dropped on the way",
        "6 in the last hour",
        "by status: 7 completed, 1 failed, 1 pending",
        "total: 9",
    ):
        assert line in done.stdout.splitlines()
    pages = re.findall(r"^page \d: (.*)$", done.stdout, re.MULTILINE)
    assert [len(page.split(", ")) for page in pages] == [3, 3, 3]
    assert len({name for page in pages for name in page.split(", ")}) == 9
    assert not list(tmp_path.iterdir())


async def test_every_command_line_that_it_shows_works(settings, capsys, cli):
    async with processing(settings), Client(url=settings.url, namespace=settings.namespace) as client:
        await ask(client)
    shown = capsys.readouterr().out
    commands = re.findall(r"^\$ durablectl (.*)$", shown, re.MULTILINE)
    assert len(commands) == len(re.findall(r"^\$ curl ", shown, re.MULTILINE)) == 9
    outputs = {}
    for command in commands:
        done = cli(*shlex.split(command))
        assert done.returncode == 0, (command, done.stderr)
        outputs[command] = done.stdout
    assert outputs["wf list --status completed --count"].strip() == "7"
    assert "unlucky" in outputs["wf list --status failed"]
