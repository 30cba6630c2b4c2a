"""Benchmarks of this checkout. Only this file makes the checkout, and the helpers and apps of its tests, importable."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORT_PATHS = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/apps")]

sys.path[0:0] = IMPORT_PATHS
