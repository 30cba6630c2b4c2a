"""The API as HTTP: methods, connections, odd and slow clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time

import pytest

from durablectl.http.server import HttpProtocol
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.waiting import PATIENCE
from helpers.workflow_runs import start_workflow

GETS = ["/api/workflows", "/api/workflows/active", "/api/workflows/stats", "/api/workflows/one", "/api/processors"]
GETS += ["/health", "/metrics", "/openapi.json", "/", "/docs"]


@pytest.fixture
async def http(settings):
    async with provisioned_store(settings) as store, http_api(settings) as http:
        await start_workflow(store, "nobodys", id="one")
        yield http


async def exchanged(http, parts, pause=0.0, silence=PATIENCE):
    """Everything that the server says to these bytes until it hangs up, or is silent after it has said something."""
    reader, writer = await asyncio.open_connection(http.host, http.port)
    said = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while data := await asyncio.wait_for(reader.read(65536), silence if said else PATIENCE):
            said += data
    writer.close()
    return said.decode(errors="replace")


def statuses(said):
    return [int(code) for code in re.findall(r"^HTTP/1\.1 (\d{3})", said, re.MULTILINE)]


@pytest.mark.parametrize("target", [*GETS, "/api/workflows/nowhere"])
async def test_head_is_get_without_the_body(http, target):
    head, get = await http("HEAD", target), await http.get(target)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    if target != "/metrics":
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("target", [*(each for each in GETS if each != "/"), "/api/workflows/one/pause"])
async def test_a_slash_at_the_end_is_another_path(http, target):
    for method in ("GET", "POST"):
        assert (await http(method, f"{target}/")).status == 404


async def test_an_old_client_is_answered_and_hung_up_on(http):
    said = await exchanged(http, [b"GET /health HTTP/1.0\r\n\r\n"])
    assert statuses(said) == [200]
    assert said.endswith("}\n")


async def test_a_connection_is_kept_after_an_error(http):
    wrong = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    refused = b"POST /api/workflows/a/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{"
    right = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert statuses(await exchanged(http, [wrong, refused, right], pause=0.1)) == [404, 400, 200]
    assert statuses(await exchanged(http, [wrong + refused + right])) == [404, 400, 200]


async def test_bytes_after_an_oversized_body_are_not_parsed_as_request(http):
    large = b"POST /api/workflows/a/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"
    hidden = b"DELETE /api/workflows/one HTTP/1.1\r\nHost: a\r\n\r\n"
    assert statuses(await exchanged(http, [large, hidden], pause=0.1, silence=2)) == [413]
    assert (await http.get("/api/workflows/one")).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_malformed_request_is_refused(http, raw):
    said = await exchanged(http, [raw])
    assert statuses(said) == [400]
    assert "Traceback" not in said
    assert (await http.get("/health")).status == 200


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_oversized_request_is_refused_or_served(http, size):
    for raw in (b"GET /health HTTP/1.1\r\nHost: a\r\nX-Long: ", b"GET /"):
        rest = b" HTTP/1.1\r\nHost: a" if raw.endswith(b"/") else b""
        said = await exchanged(http, [raw + b"x" * size + rest + b"\r\nConnection: close\r\n\r\n"])
        assert statuses(said) in ([200], [404], [400]) if size < 1_000_000 else statuses(said) in ([400], [])
        assert (await http.get("/health")).status == 200


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nX-A"])
async def test_connection_without_request_is_closed(http, monkeypatch, begun):
    monkeypatch.setattr(HttpProtocol, "headers_seconds", 0.4)
    began = time.monotonic()
    trickle = itertools.chain([begun], (b"x" for _ in range(2_000)))
    assert await exchanged(http, trickle, pause=0.05) == ""
    assert next(trickle), "it hung up although more came"
    assert time.monotonic() - began > 0.3


async def test_a_body_that_does_not_come_is_not_waited_for(settings, http):
    head = b"POST /api/workflows/nobodys/invoke?id=slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    async with http_api(settings, request_seconds=1) as impatient:
        said = await exchanged(impatient, [head, *(b" " for _ in range(30))], pause=0.05, silence=2)
    assert statuses(said) == [408]
    assert '"timed_out"' in said
    assert (await http.get("/api/workflows/slow")).status == 404


async def test_many_idle_connections_do_not_block_requests(http):
    silent = [await asyncio.open_connection(http.host, http.port) for _ in range(200)]
    assert (await http.get("/health")).status == 200
    for _, writer in silent:
        writer.close()
