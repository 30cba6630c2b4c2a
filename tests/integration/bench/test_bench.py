"""The measurements, in their smallest form: that they run, and yield what the table shows. No figure is judged here."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from helpers.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "bench").rglob("*.py")
    if path.name != "__main__.py" and "\ndef main()" in path.read_text(encoding="utf-8")
}

ROWS = {
    "throughput": ["concurrency 100, sync default", "concurrency 100, sync always"],
    "latency": ["acknowledged publish, p50", "a step, p50", "start to result, p50", "start to result, p99", "of that,"],
    "long_workflow": ["tenth 1", "tenth 10"],
    "processors": ["processors 1, quick", "processors 2, quick", "processors 1, steps of 10 ms", "processors 2, steps"],
    "payloads": ["of 20 bytes", "of 1,000 bytes", "of 100,000 bytes", "100,000 bytes, data written"],
    "replicas": ["three replicas"],
    "sleeping": ["memory of a processor with 10 suspended", "CPU of a processor", "started until all are suspended"],
    "query": ["wf list, 10", "wf list, 20", "wf get, 20", "wf stats, 20", "memory of"],
    "watching": ["wf watch of one, pipe", "wf watch of many, terminal"],
    "startup": ["wf list", "--help"],
    "http_api": ["health", "list, 50 newest", "stats"],
    "http_beside": ["beside 2 clients"],
    "failover": ["gap of the workflows", "the longest"],
}
"""A part of the name of each row that must be there, by measurement."""

FAILING = "raise SystemExit('no figures today')\n"
YIELDING = """
import argparse
from bench._harness import table
table.run(argparse.ArgumentParser(), lambda options: [
    table.Row("fell asleep", 0.5439, "s"),
    table.compared("workflows", 1234.5, "/s", "bare floor", 2469, "ratio >= 0.7"),
    table.compared("a workflow", 0.9, "ms", "a publish", 0.3, "ratio <= 8", "figure <= 50"),
    table.compared("CPU", 2.0, "%", "before", 0.0),
])
"""


def bench(*args: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "bench", *args], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", sorted(ROWS))
def test_measurement_yields_its_rows(name):
    done = bench(name, "--smoke", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert rows
    for row in rows:
        assert math.isfinite(row["figure"]), row
        assert row["figure"] > 0 or row["unit"] == "%", row
        assert row["ratio"] is None or row["ratio"] > 0 or row["unit"] == "%", row
        assert bool(row["verdict"]) == bool(row["bars"])
    for part in ROWS[name]:
        assert any(part in row["measurement"] for row in rows), part


def test_every_measurement_module_has_a_name():
    listed = re.findall(r"there are (.*)", bench("nothing").stderr)[0].split(", ")
    assert listed == list(ROWS)
    text = (ROOT / "bench" / "__main__.py").read_text(encoding="utf-8")
    assert set(re.findall(r'"(bench\.\w+\.\w+)"', text)) == MODULES


@pytest.fixture
def two_scripts(tmp_path: Path) -> Path:
    """A checkout in which the first measurement fails and the second yields a row of each kind."""
    copy = tmp_path / "bench"
    shutil.copytree(ROOT / "bench" / "_harness", copy / "_harness")
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "bench" / name, copy)
    (copy / "engine").mkdir()
    (copy / "engine" / "throughput.py").write_text(FAILING)
    (copy / "engine" / "latency.py").write_text(YIELDING)
    return tmp_path


def test_failing_measurement_is_reported_and_others_run(two_scripts):
    done = bench("throughput", "latency", root=two_scripts)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["== throughput", "no figures today", "== latency", "failed: throughput"]
    machine, *table = done.stdout.splitlines()
    assert re.fullmatch(
        r"\d+ cores, \w+ \w+, Python [\d.]+\S*, nats-server [\d.]+\S*, (uvloop [\d.]+|without uvloop)", machine
    )
    assert table == [
        "measurement    figure  compared with         ratio  bar",
        "fell asleep   0.544 s",
        "workflows    1,234 /s  bare floor: 2,469 /s   0.50  at least 0.7 times              MISSED",
        "a workflow   0.900 ms  a publish: 0.300 ms    3.00  at most 8 times, at most 50 ms  ok",
        "CPU               2 %  before: 0 %",
    ]


def test_json_output_lists_failed_measurements(two_scripts):
    found = json.loads(bench("latency", "throughput", "--json", root=two_scripts).stdout)
    assert found["failed"] == ["throughput"]
    assert [row["verdict"] for row in found["rows"]] == ["", "MISSED", "ok", ""]
    assert set(found["machine"]) == {"cores", "system", "python", "server", "loop"}
