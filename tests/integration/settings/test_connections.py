"""Real servers that ask who comes: each way to answer, by flags, by environment, by context, and mixed."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from durablectl.embedded import EmbeddedServer
from helpers.authenticated_servers import (
    AUTHENTICATED_SERVERS,
    PASSWORD,
    TOKEN,
    AuthenticatedServer,
    leaf_url,
    password_server,
    run,
    serving,
    tls_first_server,
    token_server,
    wait_until_admitted,
    was_admitted,
    write_context,
)
from helpers.credential_authority import NEEDS_OPENSSL, Operator
from helpers.paths import APPS

COMMANDS = [
    ("wf", "start", "x", "--id", "a"),
    ("wf", "list"),
    ("wf", "tail", "--since", "1h", "--limit", "1"),
]
APP = str(APPS / "every_state_app.py")
PLACES = ["flag", "environment", "context"]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=NEEDS_OPENSSL if "tls" in name else ()) for name in AUTHENTICATED_SERVERS],
)
def door(request, tmp_path_factory):
    with AUTHENTICATED_SERVERS[request.param](tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with password_server(tmp_path_factory.mktemp("guarded")) as opened:
        yield opened


@pytest.mark.parametrize("by", PLACES)
def test_a_client_is_let_in(door, by):
    was_admitted(door.run_command(by))


@pytest.mark.parametrize("by", PLACES)
def test_connection_without_credentials_is_refused(door, by):
    result = door.run_command(by, {})
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.count("\n") == 2, "a sentence and a hint"


def test_a_client_starts_lists_and_watches(door):
    started = door.run_command("context", None, "wf", "start", "nobodys", "--id", "mine")
    assert (started.exit_code, started.stdout) == (0, "mine\n"), started.stderr
    listed = door.run_command("context", None, "wf", "list", "-o", "name")
    assert (listed.exit_code, listed.stdout) == (0, "mine\n"), listed.stderr
    tailed = door.run_command("context", None, "wf", "tail", "--since", "1h", "--limit", "1", "-o", "name")
    assert (tailed.exit_code, tailed.stdout) == (0, "mine\n"), tailed.stderr


def test_each_part_of_a_context_can_be_replaced(guarded):
    wrong = {"url": "nats://127.0.0.1:1", "user": "grace", "password": "wrong"}
    right = {"url": guarded.server.url, **guarded.settings}
    for name, value in right.items():
        write_context("mine", {**right, name: wrong[name]})
        assert run("flag", {"context": "mine"}).exit_code == 4, name
        for by in ("flag", "environment"):
            replaced = run(by, {"context": "mine", name: value})
            assert replaced.exit_code == 0, (name, replaced.stderr)
            assert ("Warning: " in replaced.stderr) == (name == "url")


def test_foreign_url_with_context_credentials_gives_a_warning(guarded):
    write_context("mine", {"url": "nats://127.0.0.1:1", **guarded.settings})
    for by, source in (("flag", "flag --nats-url"), ("environment", "environment NATS_URL")):
        result = run(by, {"context": "mine", "url": guarded.server.url})
        assert result.exit_code == 0
        assert result.stderr.splitlines()[0] == (
            f"Warning: The URL is that of {source}, but the context 'mine' still provides user and password."
        )
        assert PASSWORD not in result.output
    as_json = run("flag", {"context": "mine", "url": guarded.server.url}, "processors", "--json")
    assert json.loads(as_json.stderr)["warning"]["message"].startswith("The URL is that of flag --nats-url")


@pytest.mark.parametrize("by", PLACES)
def test_credentials_within_the_url(guarded, by):
    url = f"nats://ada:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.server.port}"
    was_admitted(guarded.run_command(by, {"url": url}))
    verbose = guarded.run_command(by, {"url": url}, "doctor", "-v", "--json")
    assert verbose.exit_code == 3, "no workflows yet"
    assert guarded.server.url in verbose.stderr
    assert not [secret for secret in (PASSWORD, quote(PASSWORD, safe=""), "ada") if secret in verbose.output]


def test_credentials_within_the_url_go_before_those_of_the_context(guarded):
    write_context("mine", {"url": "nats://127.0.0.1:1", "user": "grace", "password": "wrong"})
    url = f"nats://ada:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.server.port}"
    was_admitted(run("flag", {"context": "mine", "url": url}))


def test_a_token_within_the_url(tmp_path):
    with token_server(tmp_path) as door:
        was_admitted(door.run_command("flag", {"url": f"nats://{TOKEN}@127.0.0.1:{door.server.port}"}))


def test_a_second_server_answers_where_the_first_one_does_not(guarded):
    was_admitted(guarded.run_command("flag", {**guarded.settings, "url": f"nats://127.0.0.1:1,{guarded.server.url}"}))


def test_jwt_and_seed_within_the_context(tmp_path):
    operator = Operator()
    jwt, seed = operator.user()
    with serving(tmp_path, operator.config) as server:
        door = AuthenticatedServer(server, {"user_jwt": jwt, "user_seed": seed})
        was_admitted(door.run_command("context"))
        stranger = Operator().user()
        refused = door.run_command("context", {"user_jwt": stranger[0], "user_seed": stranger[1]})
    assert refused.exit_code == 4
    assert "refused the credentials" in refused.stderr
    assert not any(secret in refused.output for secret in stranger)


@NEEDS_OPENSSL
def test_a_server_that_wants_the_handshake_first(tmp_path):
    with tls_first_server(tmp_path) as door:
        was_admitted(door.run_command("context"))
        without = door.run_command("context", {**door.settings, "tls_first": False})
    assert without.exit_code == 4


def test_paths_in_a_context_expand(tmp_path, monkeypatch):
    with AUTHENTICATED_SERVERS["nkey"](tmp_path) as door:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KEYS", str(tmp_path))
        for written in ("~/user.nk", "$KEYS/user.nk", "${KEYS}/user.nk"):
            was_admitted(door.run_command("context", {"nkey": written}))


def test_an_inbox_prefix_takes_effect(tmp_path):
    permissions = 'permissions: { publish: ">", subscribe: "_ADA.>" }'
    config = f'authorization {{ users: [{{ user: ada, password: "{TOKEN}", {permissions} }}] }}'
    with serving(tmp_path, config) as server:
        door = AuthenticatedServer(server, {"user": "ada", "password": TOKEN, "inbox_prefix": "_ADA"})
        was_admitted(door.run_command("context"))
        for command in COMMANDS:
            result = door.run_command("context", None, *command)
            assert result.exit_code == 0, (command, result.stderr)
        refused = door.run_command("context", {**door.settings, "inbox_prefix": "_OTHER"})
    assert refused.exit_code == 4
    assert "may not subscribe" in refused.stderr


def test_a_jetstream_domain_takes_effect(tmp_path, spawn):
    """Through a server without JetStream, whose hub has it."""
    store = json.dumps(str(tmp_path / "jetstream"))
    hub_config = f'jetstream {{ domain: hub, store_dir: {store} }}\nleafnodes {{ listen: "127.0.0.1:-1" }}'
    with EmbeddedServer(tmp_path / "hub", jetstream=False, config=hub_config) as hub:
        leaf_config = (
            f"leafnodes {{ remotes: [{{ url: {json.dumps(leaf_url(tmp_path / 'hub' / 'nats-server.log'))} }}] }}"
        )
        with EmbeddedServer(tmp_path / "leaf", jetstream=False, config=leaf_config) as leaf:
            door = AuthenticatedServer(leaf, {"jetstream_domain": "hub"})
            wait_until_admitted(door)
            for command in COMMANDS:
                result = door.run_command("context", None, *command)
                assert result.exit_code == 0, (command, result.stderr)
            spawn("run", "processor", APP, env={"NATS_URL": "", "DURABLECTL_NAMESPACE": "", "NATS_CONTEXT": "mine"})
            ran = door.run_command("context", None, "wf", "start", "whole", "--input", '{"amount": 5}', "--wait")
            assert (ran.exit_code, json.loads(ran.stdout)["paid"]) == (0, 5), ran.stderr
            by_prefix = door.run_command("context", {"jetstream_api_prefix": "$JS.hub.API"}, "wf", "get", "a")
            at_the_hub = AuthenticatedServer(hub).run_command("context", None, "wf", "get", "a")
            without = door.run_command("context", {})
            elsewhere = door.run_command("context", {"jetstream_domain": "nowhere"})
    assert (by_prefix.exit_code, at_the_hub.exit_code) == (0, 0)
    for refused in (without, elsewhere):
        assert refused.exit_code == 4
        assert refused.stderr.startswith("Error: JetStream is not enabled on the NATS server.")
