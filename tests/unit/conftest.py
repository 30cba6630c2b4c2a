"""Unit tests run without a nats-server."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def nats_server() -> None:
    pytest.fail("A unit test uses no server. Move it to tests/integration.")
