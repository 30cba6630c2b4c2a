"""What cannot be used is refused with the right code and a sentence that names it, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from durablectl import control, query
from durablectl.storage.records import states
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.workflow_runs import start_workflow

LIST = "/api/workflows"
START = "/api/workflows/nobodys/invoke"
MILLION = 1_000_000


def get(target, status, *words):
    return pytest.param("GET", target, None, status, words, id=f"GET {target[:60]}")


def post(target, body, status, *words, method="POST"):
    return pytest.param(method, target, body, status, words, id=f"{method} {target[:50]} {str(body)[:30]}")


BAD = [
    get(f"{LIST}?limit=-1", 400, "The parameter limit cannot be used: -1 is less than 1."),
    get(f"{LIST}?limit=0", 400, "The parameter limit cannot be used: 0 is less than 1."),
    get(f"{LIST}?limit=1001", 400, "The parameter limit cannot be used: 1001 is more than 1000."),
    get(f"{LIST}?limit=abc", 400, "The parameter limit cannot be used: 'abc' is not a whole number."),
    get(f"{LIST}?limit=1.5", 400, "'1.5' is not a whole number"),
    get(f"{LIST}?limit=", 400, "parameter limit", "'' is not a whole number"),
    get(f"{LIST}?limit={'9' * 5000}", 400, "parameter limit"),
    get(f"{LIST}?limit=1&limit=2", 400, "The parameter limit was given twice."),
    get(f"{LIST}?offset=-1", 400, "The parameter offset cannot be used: -1 is less than 0."),
    get(f"{LIST}?oldest_first=perhaps", 400, "parameter oldest_first", "'perhaps' is neither true nor false"),
    get(f"{LIST}?status=foo", 400, "'foo'", "pending, running, suspended, paused, completed, failed, cancelled"),
    get(f"{LIST}?status=failed,", 400, "There is no status ''."),
    get(f"{LIST}?since=yesterdayish", 400, "The parameter since cannot be used: 'yesterdayish' is not a time."),
    get(f"{LIST}?since=0s", 400, "parameter since"),
    get(f"{LIST}?until=9999999999d", 400, "parameter until"),
    get(f"{LIST}?since=1h&until=2h", 400, "The parameter since is not before the parameter until."),
    get(f"{LIST}?created_since=", 400, "The parameter created_since is empty."),
    get(f"{LIST}?partition_key=a.b", 400, "partition key"),
    get(f"{LIST}?handler=a*", 400, "handler", "'*'"),
    get(f"{LIST}?parent=nowhere", 404, "nowhere"),
    get(f"{LIST}?cursor=abc", 400, "cursor"),
    get(f"{LIST}?fields=status,nothing", 400, "parameter fields", "'nothing'", "invocation_id, handler"),
    get(f"{LIST}?statu=failed", 400, "There is no parameter 'statu' here.", "status, handler"),
    get(f"{LIST}/one?steps=abc", 400, "The parameter steps cannot be used: 'abc'"),
    get(f"{LIST}/one?verbose=1", 400, "'verbose'"),
    get("/health?ready=maybe", 400, "parameter ready"),
    get("/api/processors?x", 400, "'x'", "It takes none."),
    get(f"{LIST}/a%00b", 400, "invocation id", "U+0000"),
    get(f"{LIST}/..", 400, "invocation id", "'.'"),
    get(f"{LIST}/%2e%2e", 400, "invocation id", "'.'"),
    get(f"{LIST}/*", 400, "invocation id", "'*'"),
    get(f"{LIST}/>", 400, "invocation id", "'>'"),
    get(f"{LIST}/%ff", 400, "invocation id"),
    get(f"{LIST}/a%20b", 400, "invocation id"),
    get(f"{LIST}/one%2Fpause", 404, "no name holds a slash"),
    get(f"{LIST}/{'x' * 10_000}", 400, "invocation id", "10000 characters"),
    get(f"{LIST}/{'x/' * 5_000}", 404, "There is nothing at"),
    get(f"{LIST}/nowhere", 404, "There is no workflow nowhere."),
    get(f"{LIST}/", 404, "There is nothing at"),
    get("//api/workflows", 404, "There is nothing at"),
    get("/nothing", 404, "There is nothing at /nothing."),
    post(START, b"{", 400, "The body is not JSON at line 1, column 2."),
    post(START, b"user-001", 400, "The body is not JSON", "quotation marks"),
    post(START, b"\xff\xfe\xff", 400, "The body is not JSON"),
    post(START, b"NaN", 400, "The body is not JSON: NaN is no number there."),
    post(START, b'{"a": [Infinity]}', 400, "Infinity"),
    post(START, b"[-Infinity]", 400, "-Infinity"),
    post(START, b"1e999", 400, "JSON cannot hold"),
    post(START, b'"\\ud800"', 400, "JSON cannot hold"),
    post(START, b"9" * 5000, 400, "The body is not JSON"),
    post(START, b"[" * 201 + b"]" * 201, 400, "nested deeper than 200 levels"),
    post(START, b"[" * 100_000 + b"]" * 100_000, 400, "The body is not JSON"),
    post(START, b'{"a":' * 300 + b"1" + b"}" * 300, 400, "nested deeper"),
    post(START, b"x" * 20 * MILLION, 413, "The body is larger than 2,097,152 bytes."),
    post(START, b'"' + b"x" * 1_100_000 + b'"', 413, "maximum payload"),
    post(f"{START}?id=one", None, 409, "A workflow with the id one exists already (nobodys, pending)."),
    post(f"{START}?id=", None, 400, "invocation id is empty"),
    post(f"{START}?id=active", None, 400, "The invocation id 'active' is reserved."),
    post(f"{START}?id=a.b", None, 400, "invocation id", "'.'"),
    post(f"{START}?partition_key=", None, 400, "partition key is empty"),
    post(f"{START}?delay=soon", None, 400, "The parameter delay cannot be used: 'soon'"),
    post(f"{START}?at=soon", None, 400, "The parameter at cannot be used: 'soon'"),
    post(f"{START}?at=2030-01-01&delay=1h", None, 400, "delay and at were given."),
    post(f"{LIST}/a.b/invoke", None, 400, "handler", "'.'"),
    post(f"{LIST}/one/pause?reason={'x' * 2001}", None, 400, "reason", "more than 2000 characters"),
    post(f"{LIST}/one/pause?now=1", None, 400, "There is no parameter 'now' here.", "reason"),
    post(f"{LIST}/one/cancel?now=perhaps", None, 400, "parameter now"),
    post(f"{LIST}/one/retry", None, 409, "pending"),
    post(f"{LIST}/one/retry?from_step=-1", None, 400, "parameter from_step", "-1 is less than 0"),
    post(f"{LIST}/ended/retry?from_step={2**31}", None, 400, "parameter from_step"),
    post(f"{LIST}/ended/retry?from_step=1&restart=1", None, 400, "restart and from_step were given."),
    post(f"{LIST}/ended/resume", None, 409, "The workflow ended is cancelled and cannot be resumed."),
    post(f"{LIST}/one", None, 409, "one", method="DELETE"),
    post(f"{LIST}/active", None, 404, "active", method="DELETE"),
    post(f"{LIST}/one/signals/a.b", 1, 400, "signal name", "'.'"),
    post(f"{LIST}/ended/signals/a", 1, 409, "cancelled"),
    post("/api/awakeables/one/resolve", 1, 400, "'one' is not an awakeable id."),
    post("/api/awakeables/nowhere.a/resolve", 1, 404, "nowhere"),
    post("/api/awakeables/one.answered/resolve", 2, 409, "The awakeable one.answered was answered before."),
    post("/api/awakeables/one.answered/reject", "no", 409, "The awakeable one.answered was answered before."),
    post("/api/awakeables/one.a/reject", {"why": 1}, 400, "JSON string"),
    post(LIST, None, 405, "POST is not possible here; GET, HEAD is."),
    post(f"{LIST}/one", None, 405, "POST is not possible here; DELETE, GET, HEAD is."),
    post(f"{LIST}/one/pause", None, 405, "PUT is not possible here; POST is.", method="PUT"),
    post(f"{LIST}/one/pause", None, 405, "GET is not possible here; POST is.", method="GET"),
    post(LIST, None, 405, "OPTIONS is not possible here", method="OPTIONS"),
    post(LIST, None, 405, "TRACE", method="TRACE"),
    post(LIST, None, 405, "FOO", method="FOO"),
]


async def everything(store):
    page = await query.list_workflows(store)
    return [(view.invocation_id, view.status, view.revision) for view in page.workflows]


@pytest.fixture
async def store(settings):
    async with provisioned_store(settings) as store:
        await start_workflow(store, "nobodys", id="one")
        await control.resolve(store, "one.answered", 1)
        await start_workflow(store, "nobodys", id="ended")
        await control.cancel(store, "ended")
        yield store


async def test_bad_input_is_refused_and_changes_nothing(store, settings):
    before = await everything(store)
    wrong = []
    async with http_api(settings) as http:
        for method, target, body, status, words in (each.values for each in BAD):
            answer = await http(method, target, body)
            said = answer.error["message"] + (answer.error["hint"] or "")
            if answer.status != status or not all(word in said for word in words) or len(said) > 600:
                wrong.append((method, target[:80], status, words, answer.status, said[:300]))
            if status == 405:
                assert answer.headers["Allow"] in said
            assert "durablectl" not in said
            assert "Traceback" not in said
            assert await states.load(store, "one") is not None
    assert wrong == []
    assert await everything(store) == before


async def test_a_body_without_a_length_is_cut_off_at_the_limit(store, settings):
    before = await everything(store)
    async with http_api(settings) as http:
        chunked = (b"x" * MILLION for _ in range(20))
        connection = http.connection()
        with contextlib.closing(connection):
            with contextlib.suppress(ConnectionError):
                headers = {"Transfer-Encoding": "chunked"}
                await asyncio.to_thread(connection.request, "POST", START, chunked, headers, encode_chunked=True)
            assert connection.getresponse().status == 413
    assert await everything(store) == before
