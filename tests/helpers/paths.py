"""Where the checkout, the tests, and the apps that the tests run lie."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
APPS = TESTS / "apps"
GOLDEN = TESTS / "golden"
