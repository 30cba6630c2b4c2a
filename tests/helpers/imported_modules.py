"""The modules that a command imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_SCRIPT = """
import json, sys
sys.argv = ["durablectl", *{args!r}]
code = 0
try:
    from durablectl.cli.main import main
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def imported_modules(*args: str, env: dict[str, str] | None = None) -> tuple[int, set[str]]:
    """Run a command in a process of its own; return its exit code and the modules that are loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(args=args)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)
