"""What a server, or this machine, does not accept: the exit code, a sentence with a hint, and no secret in it."""

from __future__ import annotations

import json

import pytest

from helpers.authenticated_servers import (
    PASSWORD,
    TOKEN,
    AuthenticatedServer,
    creds_server,
    nkey_server,
    password_server,
    run,
    serving,
    tls_config,
    tls_first_server,
    tls_server,
    token_server,
)
from helpers.credential_authority import NEEDS_OPENSSL, Certificates, Key, Operator, credentials

WRONG = "wr0ng-but-secret"
REFUSED = (
    "Error: The NATS server at {url} refused the credentials.\n"
    "Check --user/--password, --token, --creds, --nkey or the NATS context.\n"
)


@pytest.fixture(scope="module")
def password(tmp_path_factory):
    with password_server(tmp_path_factory.mktemp("password")) as door:
        yield door


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    with tls_server(tmp_path_factory.mktemp("certified")) as door:
        yield door


def refusal(door, settings, *secrets, by="context"):
    """Standard error, after what holds of every refusal."""
    plain = door.run_command(by, settings)
    as_json = door.run_command(by, settings, "processors", "--json")
    verbose = door.run_command(by, settings, "processors", "-v")
    assert [each.exit_code for each in (plain, as_json, verbose)] == [4, 4, 4], plain.stderr
    assert plain.stdout == as_json.stdout == ""
    error = json.loads(as_json.stderr.splitlines()[-1])["error"]
    assert plain.stderr.endswith(f"Error: {error['message']}\n{error['hint']}\n")
    for each in (plain, as_json, verbose):
        assert not [secret for secret in (*secrets, *door.secrets) if secret in each.output]
    return plain.stderr


@pytest.mark.parametrize("by", ["flag", "environment", "context"])
def test_a_wrong_password(password, by):
    told = refusal(password, {"user": "ada", "password": WRONG}, WRONG, by=by)
    assert told == REFUSED.format(url=password.server.url)


def test_a_wrong_password_within_the_url(password):
    url = f"nats://ada:{WRONG}@127.0.0.1:{password.server.port}"
    told = refusal(password, {"url": url}, WRONG, by="flag")
    assert told == REFUSED.format(url=password.server.url)


@pytest.mark.parametrize("start", ["nats://ada:", "ada:", "nats://a,nats://ada:"])
@pytest.mark.parametrize("within", ["pa/ss", "pa,ss", "pa?ss", "pa#ss", "pa@s/s", "pa:ss/s"])
def test_unencoded_password_in_url_is_explained(within, start):
    result = run("flag", {"url": f"{start}{within}word@127.0.0.1:1"})
    assert result.exit_code in {2, 4}
    assert "pa" not in result.output.replace("password", "")
    assert "127.0.0.1" in result.output


def test_a_wrong_token(tmp_path):
    with token_server(tmp_path) as door:
        assert refusal(door, {"token": WRONG}, WRONG) == REFUSED.format(url=door.server.url)
        assert refusal(door, {"url": f"nats://{WRONG}@127.0.0.1:{door.server.port}"}, WRONG) == REFUSED.format(
            url=door.server.url
        )


def test_a_strange_nkey_and_a_damaged_one(tmp_path):
    stranger = Key.make()
    path = tmp_path / "other.nk"
    with nkey_server(tmp_path) as door:
        path.write_text(stranger.seed)
        assert refusal(door, {"nkey": str(path)}, stranger.seed) == REFUSED.format(url=door.server.url)
        for damaged in ("", "SUA", stranger.seed[:-8], stranger.public, "\x00\xff"):
            path.write_text(damaged)
            told = refusal(door, {"nkey": str(path)}, stranger.seed[:-8])
            assert told.startswith(f"Error: In the NKey file {path} the seed of the key is damaged.\n"), damaged


def test_creds_of_another_operator_damaged_and_expired(tmp_path):
    path = tmp_path / "other.creds"
    with creds_server(tmp_path) as door:
        stranger = Operator().user()
        path.write_text(credentials(*stranger))
        assert refusal(door, {"creds": str(path)}, *stranger) == REFUSED.format(url=door.server.url)
        jwt, seed = door.secrets
        for damaged, message in (
            ("", f"The credentials file {path} has no NATS USER JWT and no USER NKEY SEED."),
            ("nonsense\n" * 3, f"The credentials file {path} has no NATS USER JWT and no USER NKEY SEED."),
            (credentials(jwt, seed).partition("****")[0], f"The credentials file {path} has no USER NKEY SEED."),
            (credentials(jwt, seed[:-8]), f"In the credentials file {path} the seed of the key is damaged."),
            (credentials(jwt[:-9], seed), f"The NATS server at {door.server.url} refused the credentials."),
            (credentials("a.b.c", seed), f"The NATS server at {door.server.url} refused the credentials."),
        ):
            path.write_text(damaged)
            assert refusal(door, {"creds": str(path)}, seed[:-8]).startswith(f"Error: {message}\n"), damaged


def test_creds_with_the_ends_of_lines_of_windows(tmp_path):
    with creds_server(tmp_path) as door:
        path = tmp_path / "windows.creds"
        path.write_bytes(credentials(*door.secrets).replace("\n", "\r\n").encode())
        assert door.run_command("flag", {"creds": str(path)}).exit_code == 0


def test_expired_credentials_are_reported_as_expired(tmp_path):
    operator = Operator()
    old = operator.user(lasts=-60)
    (tmp_path / "old.creds").write_text(credentials(*old))
    with serving(tmp_path, operator.config) as server:
        told = refusal(AuthenticatedServer(server), {"creds": str(tmp_path / "old.creds")}, *old)
        within = refusal(AuthenticatedServer(server), {"user_jwt": old[0], "user_seed": old[1]}, *old)
    assert f"The JWT of the credentials file {tmp_path / 'old.creds'} has expired at 20" in told
    assert "The JWT of the NATS context has expired at 20" in within


@pytest.mark.parametrize("field", ["creds", "nkey", "tls_cert", "tls_key", "tls_ca"])
@pytest.mark.parametrize(("by", "code"), [("flag", 2), ("environment", 1), ("context", 1)])
def test_missing_credentials_file_is_reported(tmp_path, field, by, code):
    path = tmp_path / "missing"
    result = run(by, {field: str(path)})
    assert result.exit_code == code
    assert f"The file {path}" in result.stderr
    assert "does not exist" in result.stderr


@NEEDS_OPENSSL
def test_a_server_of_an_unknown_authority(tls):
    for settings in ({}, {"tls_cert": tls.settings["tls_cert"], "tls_key": tls.settings["tls_key"]}):
        if settings:
            settings["tls_ca"] = other_authority(tls)
        told = refusal(tls, settings)
        assert told.startswith(f"Error: The TLS handshake with {tls.server.url} failed: unable to get local issuer")
        assert told.endswith("Check --tlsca, --tlscert, --tlskey.\n")


def other_authority(door):
    directory = door.server._store_dir.parent / "other"
    if not directory.exists():
        Certificates(directory)
    return str(directory / "authority.crt")


@NEEDS_OPENSSL
def test_no_certificate_and_one_of_another_authority(tls, tmp_path):
    certificate, key = Certificates(tmp_path / "strange").issue("stranger")
    none = refusal(tls, {"tls_ca": tls.settings["tls_ca"]})
    assert "failed: the server asks for a certificate of this client.\n" in none
    wrong = refusal(tls, {**tls.settings, "tls_cert": str(certificate), "tls_key": str(key)})
    assert "failed: the server does not accept the certificate of this client.\n" in wrong


@NEEDS_OPENSSL
def test_files_that_are_no_certificates(tls, tmp_path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    for field, what in (("tls_ca", "authority"), ("tls_cert", "certificate"), ("tls_key", "certificate")):
        told = refusal(tls, {**tls.settings, field: str(nonsense)})
        assert told.startswith(f"Error: The TLS {what} ")
        assert str(nonsense) in told
        assert "cannot be loaded: " in told


@NEEDS_OPENSSL
def test_a_password_is_not_sent_in_clear_text_where_tls_was_asked_for(password, tls):
    for settings in ({"url": password.server.url.replace("nats:", "tls:")}, {"tls_ca": tls.settings["tls_ca"]}):
        told = refusal(password, {**password.settings, **settings}, PASSWORD)
        assert "does not speak TLS, but the settings ask for it.\n" in told


@NEEDS_OPENSSL
def test_a_password_over_tls_needs_no_certificate(tmp_path):
    authority = Certificates(tmp_path / "tls")
    config = tls_config(authority, verify=False) + f'\nauthorization {{ token: "{TOKEN}" }}'
    with serving(tmp_path, config) as server:
        door = AuthenticatedServer(server, {"token": TOKEN, "tls_ca": str(authority.authority)}, (TOKEN,))
        for url in (server.url, server.url.replace("nats:", "tls:"), f"tls://{TOKEN}@localhost:{server.port}"):
            assert door.run_command("flag", {**door.settings, "url": url}).exit_code == 0
        assert refusal(door, {"tls_ca": str(authority.authority)}) == REFUSED.format(url=server.url)


@NEEDS_OPENSSL
def test_a_server_that_wants_the_handshake_first_and_one_that_does_not(tmp_path, tls, caplog):
    with tls_first_server(tmp_path) as door:
        refusal(door, {**door.settings, "tls_first": False})
    told = refusal(tls, {**tls.settings, "tls_first": True})
    assert "failed: tls_first is for servers with handshake_first.\n" in told
    assert not [record for record in caplog.records if record.name == "asyncio"]
