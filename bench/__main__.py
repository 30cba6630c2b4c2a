"""Every measurement, one after the other: ``python -m bench``, ``--short`` for a quarter of an hour, or some by name.

Each is a script of its own that prints ratios or curves within one run; read what it measures at its top.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_SHORT = {
    "startup": (),
    "throughput": ("--count", "2000"),
    "long_workflow": (),
    "sleeping": ("--count", "2000"),
    "failover": (),
    "query": ("--counts", "1000", "100000"),
    "http_api": ("--seconds", "5"),
    "http_beside": ("--count", "4000", "--rounds", "3"),
}


def main() -> None:
    directory = Path(__file__).parent
    every = sorted(
        path.stem for path in directory.glob("*.py") if path.stem not in {"__main__", "http_clients", "support"}
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}; all without it")
    parser.add_argument("--short", action="store_true", help="smaller numbers")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(every))
    if unknown:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(every)}")
    failed = []
    for name in options.names or every:
        print(f"== {name}", flush=True)
        arguments = _SHORT.get(name, ()) if options.short else ()
        if subprocess.run([sys.executable, str(directory / f"{name}.py"), *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
