"""What the tests of breakdowns share."""

from __future__ import annotations

import pytest

from helpers.breakdowns import Breakdown


@pytest.fixture
def broken(cli, spawn, tmp_path):
    return Breakdown(cli, spawn, tmp_path / "breakdown")
