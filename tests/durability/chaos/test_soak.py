"""The soak in its short form: a mixed load, kills, and a clean audit of every workflow.

Whether memory, descriptors and streams are flat is judged in the long form only (``python -m bench.soak``):
in so short a time all of them are still warming up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from helpers.paths import ROOT


def test_soak_with_kills_leaves_no_violation(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--minutes", "0.2", "--rate", "15", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figures = {row["measurement"]: row["figure"] for row in found["rows"]}
    assert found["violations"] == []
    assert figures["violations"] == 0
    assert figures["workflows judged"] >= 50
    assert figures.get("kill -9", 0) + figures.get("freeze", 0) + figures.get("stop", 0) >= 2
    assert figures["server kill -9"] >= 1
    assert not list(tmp_path.glob("soak-*")), "the data of a clean run is removed"
