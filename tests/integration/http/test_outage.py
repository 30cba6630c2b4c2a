"""Without the NATS server every route says so within two seconds, and works again by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from durablectl.embedded import EmbeddedServer
from durablectl.settings import Settings
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow

REQUESTS = [
    ("GET", "/api/workflows"),
    ("GET", "/api/workflows/active"),
    ("GET", "/api/workflows/stats"),
    ("GET", "/api/workflows?error=x"),
    ("GET", "/api/workflows/one"),
    ("GET", "/api/processors"),
    ("GET", "/api/status"),
    ("GET", "/api/workflows/one/events"),
    ("GET", "/api/events"),
    *(("POST", f"/api/workflows/one/{verb}") for verb in ("pause", "resume", "cancel", "retry", "signals/a")),
    ("POST", "/api/workflows/nobodys/invoke"),
    ("POST", "/api/awakeables/one.a/resolve"),
    ("POST", "/api/awakeables/one.a/reject"),
    ("DELETE", "/api/workflows/one"),
]


@pytest.fixture
def server(tmp_path):
    with EmbeddedServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def settings(server):
    return Settings(url=server.url, namespace="outage", timeout=5)


async def unavailable(http, method, target):
    answer = await http(method, target)
    assert (answer.status, answer.error["code"]) == (503, "cannot_connect"), (target, answer)
    assert answer.error["message"] == "The NATS server cannot be reached."
    assert b"127.0.0.1" not in answer.body


async def is_back(http):
    return (await http.get("/api/workflows/one")).status == 200


async def test_stopped_server_gives_503_until_it_is_back(server, settings):
    async with provisioned_store(settings) as store, http_api(settings) as http:
        await start_workflow(store, "nobodys", id="one")
        assert await is_back(http)
        server.kill()
        for method, target in REQUESTS:
            await unavailable(http, method, target)
        health = await http.get("/health")
        assert (health.status, health.json["status"], health.json["nats"]) == (503, "unhealthy", "disconnected")
        server.start()
        await wait_until(lambda: is_back(http))
        assert (await http.get("/health")).status == 200
        assert (await http.get("/api/workflows")).json["total"] == 1


async def test_frozen_server_gives_503_until_it_is_back(server, settings):
    async with provisioned_store(settings) as store, http_api(settings) as http:
        await start_workflow(store, "nobodys", id="one")
        assert await is_back(http)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await asyncio.gather(*(unavailable(http, method, target) for method, target in REQUESTS))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await wait_until(lambda: is_back(http))


async def test_api_may_start_before_the_server(server, settings):
    server.kill()
    async with http_api(replace(settings, timeout=10)) as http:
        await unavailable(http, "GET", "/api/workflows")
        assert (await http.get("/health")).status == 503
        server.start()
        await wait_until(lambda: healthy(http))
        assert (await http.post("/api/workflows/nobodys/invoke?id=one")).status == 202
        assert await is_back(http)


async def healthy(http):
    return (await http.get("/health")).status == 200
