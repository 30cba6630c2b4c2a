"""Every measurement, one after the other, and one table of all: ``python -m bench``, or some of them by name.

It takes ten minutes, with ``--short`` five; ``--smoke`` only shows that all of them run. Each is a module with options
of its own, such as ``python -m bench.engine.latency --help``; its docstring says what it measures. ``python -m
bench.soak`` is run by itself: it checks that nothing breaks, and measures nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from bench import ROOT
from bench._harness import table

# In the order of the table.
_MODULES = {
    "throughput": "bench.engine.throughput",
    "latency": "bench.engine.latency",
    "long_workflow": "bench.engine.long_workflow",
    "processors": "bench.engine.processor_scaling",
    "payloads": "bench.engine.payloads",
    "replicas": "bench.engine.replicas",
    "sleeping": "bench.engine.suspended_workflows",
    "query": "bench.queries.read_commands",
    "watching": "bench.queries.watch_latency",
    "startup": "bench.queries.cold_start",
    "http_api": "bench.http.request_rate",
    "http_beside": "bench.http.client_cost",
    "failover": "bench.engine.failover",
}
_SHORT = {
    "throughput": ("--count", "2000"),
    "latency": (),
    "long_workflow": (),
    "processors": ("--count", "3000", "--rounds", "1"),
    "payloads": ("--rounds", "1"),
    "replicas": ("--rounds", "1"),
    "sleeping": ("--count", "2000"),
    "query": ("--counts", "1000", "100000"),
    "watching": ("--changes", "50"),
    "startup": (),
    "http_api": ("--seconds", "5"),
    "http_beside": ("--count", "4000", "--rounds", "3"),
    "failover": (),
}
_SMOKE = {
    "throughput": ("--count", "20", "--rounds", "1"),
    "latency": ("--rounds", "2"),
    "long_workflow": ("--steps", "20"),
    "processors": ("--count", "30", "--slow-count", "4", "--processors", "1", "2", "--rounds", "1"),
    "payloads": ("--megabytes", "0.01", "--rounds", "1"),
    "replicas": ("--count", "20", "--rounds", "1"),
    "sleeping": ("--count", "10", "--seconds", "0.5"),
    "query": ("--counts", "10", "20", "--rounds", "1"),
    "watching": ("--changes", "3"),
    "startup": ("--rounds", "1"),
    "http_api": ("--count", "20", "--seconds", "1", "--clients", "3"),
    "http_beside": ("--count", "20", "--rounds", "1", "--clients", "2"),
    "failover": ("--rounds", "1", "--count", "4"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_MODULES)}; all without it")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", dest="sizes", action="store_const", const=_SHORT, default={}, help="smaller numbers")
    size.add_argument("--smoke", dest="sizes", action="store_const", const=_SMOKE, help="the smallest that run")
    table.add_json(parser)
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(_MODULES))
    if unknown:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(_MODULES)}")
    rows, failed = [], []
    for name in options.names or _MODULES:
        table.say(f"== {name}")
        found = _measured(name, options.sizes.get(name, ()))
        rows += found or []
        if found is None:
            failed.append(name)
    table.show(rows, as_json=options.json, failed=failed)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _measured(name: str, arguments: tuple[str, ...]) -> list[table.Row] | None:
    """Run a measurement and return its rows; None when it failed."""
    # This checkout is measured, whatever is installed, and without the user's settings.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "DURABLECTL_"))}
    command = [sys.executable, "-m", _MODULES[name], *arguments, "--json"]
    done = subprocess.run(command, env={**own, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=False)
    return None if done.returncode else table.read(done.stdout)


if __name__ == "__main__":
    main()
