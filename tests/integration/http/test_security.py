"""Who may come in, from where, and that nothing of the inside gets out."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import subprocess
import urllib.request

import pytest

from durablectl.errors import ConfigurationError, UsageError
from durablectl.http.server_options import HttpOptions, check, read_token
from helpers.http_api import Http, http_api
from helpers.in_process import provisioned_store
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow

TOKEN = "a-secret-that-nobody-sees"  # noqa: S105  # a test's
PAGE = "https://page.example"


@pytest.fixture
async def one(settings):
    """The settings of a namespace with a workflow."""
    async with provisioned_store(settings) as store:
        await start_workflow(store, "nobodys", id="one")
        yield settings


def basic(password):
    return f"Basic {base64.b64encode(f'any:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Bearer {TOKEN}x", "Bearer", "Bearer \xe4", f"Token {TOKEN}", basic("no"), "Basic %%%"],
)
async def test_requests_without_the_token_are_refused(one, given):
    async with http_api(one, token=TOKEN) as http:
        stranger = Http(http.url, {} if given is None else {"Authorization": given})
        for target in ("/api/workflows", "/api/workflows/one", "/openapi.json", "/metrics", "/", "/docs", "/nothing"):
            answer = await stranger.get(target)
            assert (answer.status, answer.error["code"]) == (401, "unauthorised")
            assert "Bearer" in answer.headers["WWW-Authenticate"]
        assert (await stranger.post("/api/workflows/one/cancel")).status == 401
        assert (await stranger.get("/health")).status == 200
        assert (await http.get("/api/workflows/one")).json["status"] == "pending"
        assert (await Http(http.url, {"Authorization": basic(TOKEN)}).get("/api/workflows/one")).status == 200


async def test_the_token_is_compared_in_constant_time(one, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "durablectl.http.middleware.hmac.compare_digest", lambda *both: compared.append(both) or both[0] == both[1]
    )
    async with http_api(one, token=TOKEN) as http:
        assert (await http.get("/api/workflows")).status == 200
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


async def test_get_requests_change_nothing(one):
    async with http_api(one, read_only=True) as http:
        for method, target in (
            ("POST", "/api/workflows/one/cancel"),
            ("POST", "/api/workflows/nobodys/invoke"),
            ("POST", "/api/awakeables/one.a/resolve"),
            ("DELETE", "/api/workflows/one"),
            ("PUT", "/api/workflows/one"),
        ):
            answer = await http(method, target)
            assert (answer.status, answer.error["code"]) == (403, "read_only")
        assert (await http.get("/api/workflows")).json["total"] == 1


async def test_no_page_of_another_origin_changes_or_reads_anything(one):
    async with http_api(one) as http:
        for headers in ({"Origin": PAGE}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await http.post("/api/workflows/one/cancel", None, headers)
            assert (answer.status, answer.error["code"]) == (403, "foreign_origin")
        answer = await http.get("/api/workflows/one", {"Origin": PAGE})
        assert answer.json["status"] == "pending"
        preflight = await http("OPTIONS", "/api/workflows", None, asking("GET"))
        assert preflight.status == 405
        assert not [name for each in (answer, preflight) for name in each.headers if name.lower().startswith("access-")]
        own = {"Origin": http.url}
        assert (await http.post("/api/workflows/one/cancel", None, own)).status == 200


def asking(method, origin=PAGE):
    headers = "authorization,if-match"
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}


async def test_allowed_cors_origin_may_use_the_api(one):
    async with http_api(one, token=TOKEN, cors_origins=(PAGE,)) as http:
        stranger = Http(http.url)
        preflight = await stranger("OPTIONS", "/api/workflows/one/pause", None, asking("POST"))
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        other = await stranger("OPTIONS", "/api/workflows/one/pause", None, asking("POST", "https://evil.example"))
        assert other.status == 400
        assert "Access-Control-Allow-Origin" not in other.headers
        answer = await http.post("/api/workflows/one/pause", None, {"Origin": PAGE})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        refused = await stranger.get("/api/workflows", {"Origin": PAGE})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


async def test_no_secret_is_logged_and_no_inside_answered(one, caplog, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("/var/lib/secret")

    monkeypatch.setattr("durablectl.query.get_stats", broken)
    with caplog.at_level(logging.DEBUG, "durablectl.http"):
        async with http_api(one, token=TOKEN) as http:
            answer = await http.get("/api/workflows/stats")
            assert (answer.status, answer.error["code"]) == (500, "internal")
            assert not [word for word in (b"secret", b"Traceback", b".py", b"Runtime") if word in answer.body]
            await Http(http.url, {"Authorization": "Bearer another-secret"}).get("/api/workflows?cursor=third-secret")
            await http.get("/api/workflows")
    assert "GET /api/workflows/stats" in caplog.text
    assert not [word for word in (TOKEN, "another-secret", "third-secret", "Bearer") if word in caplog.text]


async def test_every_answer_has_security_headers(one):
    async with http_api(one, token=TOKEN) as http:
        for client in (http, Http(http.url)):
            answer = await client.get("/api/workflows")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "Server" not in answer.headers


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("", "at least 8"), ("short", "at least 8"), (b"\xff", "not text")]
)
def test_a_token_file_must_hold_a_token(tmp_path, content, words):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=words):
        read_token(path)


def test_a_token_file_that_others_can_read_is_warned_of(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    assert caplog.text == ""
    path.chmod(0o644)
    assert read_token(path) == TOKEN
    assert "can be read by others" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "api.example"])  # noqa: S104  # what is refused
def test_beyond_this_machine_a_token_is_needed(host):
    with pytest.raises(UsageError, match=f"Without a token.*{host}"):
        check(HttpOptions(host=host), insecure=False)
    check(HttpOptions(host=host), insecure=True)
    check(HttpOptions(host=host, token=TOKEN), insecure=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_on_this_machine_none_is_needed(host):
    check(HttpOptions(host=host), insecure=False)


def test_the_command_refuses_with_the_right_code(cli, tmp_path):
    assert cli("serve-api", "--http-host", "0.0.0.0").returncode == 2  # noqa: S104  # what is refused
    assert cli("serve-api", "--cors-origin", "*").returncode == 2
    assert cli("serve-api", "--tls-cert", "a").returncode == 2
    for args in (["--api-token-file", "nowhere"], ["--tls-cert", "nowhere", "--tls-key", "nowhere"]):
        done = cli("serve-api", "--http-port", "0", *args)
        assert (done.returncode, done.stdout, done.stderr.count("Traceback")) == (1, "", 0)
    short = cli("serve-api", env={"DURABLECTL_API_TOKEN": "short"})
    assert (short.returncode, "DURABLECTL_API_TOKEN" in short.stderr) == (1, True)
    (tmp_path / "cert").write_text("no certificate")
    done = cli("serve-api", "--http-port", "0", "--tls-cert", "cert", "--tls-key", "cert")
    assert (done.returncode, "TLS" in done.stderr) == (1, True)


async def test_port_in_use_is_reported(one, cli):
    async with http_api(one) as http:
        done = cli("serve-api", "--http-port", str(http.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{http.port}: address already in use." in done.stderr


async def test_public_address_without_token_gives_a_warning(spawn):
    process = spawn("serve-api", "--http-host", "0.0.0.0", "--http-port", "0", "--insecure")  # noqa: S104  # what is warned of
    await wait_until(lambda: "listens on" in process.err())
    assert "there is no token" in process.err()


async def test_the_variable_holds_the_token_and_tls_is_spoken(spawn, tmp_path):
    files = {"--tls-cert": tmp_path / "cert.pem", "--tls-key": tmp_path / "key.pem"}
    words = "req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -days 2 "
    words += f"-out {files['--tls-cert']} -keyout {files['--tls-key']}"
    await asyncio.to_thread(subprocess.run, ["openssl", *words.split()], check=True, capture_output=True)
    options = [str(word) for pair in files.items() for word in pair]
    process = spawn("serve-api", "--http-port", "0", *options, env={"DURABLECTL_API_TOKEN": TOKEN})
    await wait_until(lambda: "listens on https://" in process.err())
    url = process.err().partition("listens on ")[2].split()[0].rstrip(".")
    context = ssl.create_default_context(cafile=str(files["--tls-cert"]))
    request = urllib.request.Request(f"{url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310, ASYNC210  # a server of our own
        assert answer.status == 200
    assert TOKEN not in process.err()
