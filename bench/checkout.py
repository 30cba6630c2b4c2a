"""Imported first, makes this checkout importable, and what its chaos tests judge by."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
sys.path[0:0] = [str(_ROOT), str(_ROOT / "tests"), str(_ROOT / "tests/apps")]
