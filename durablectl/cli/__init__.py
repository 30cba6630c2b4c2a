"""The command line: each command parses, makes one call below, and renders."""

from __future__ import annotations

PROGRAM = "durablectl"


def version() -> str:
    """That of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(PROGRAM)
    except PackageNotFoundError:
        return "0 (not installed)"
