"""Context files as the NATS CLI writes them."""

from __future__ import annotations

import json

import pytest

from durablectl.errors import ConfigurationError
from durablectl.settings import resolve
from durablectl.settings.contexts import known_contexts


@pytest.fixture
def store(tmp_path):
    """Called with a name and keys, it writes a context; ``environ`` is the environment that finds it."""
    return Store(tmp_path)


class Store:
    def __init__(self, root):
        self.root = root
        self.environ = {"HOME": str(root)}
        self.directory = root / ".config/nats/context"
        self.directory.mkdir(parents=True)

    def __call__(self, name, text=None, **content):
        path = self.directory / f"{name}.json"
        path.write_text(text if text is not None else json.dumps(content))
        return path

    def select(self, name):
        (self.directory.parent / "context.txt").write_text(f"{name}\n")


def test_every_key(store, tmp_path):
    for name in ("c", "n", "cert", "key", "ca"):
        (tmp_path / name).write_text("")
    store(
        "prod",
        description="ours",
        url="tls://prod:4222",
        user="me",
        password="p",  # noqa: S106
        token="t",  # noqa: S106
        creds="~/c",
        nkey="$HOME/n",
        cert="~/cert",
        key="~/key",
        ca="${HOME}/ca",
        user_jwt="jwt",
        user_seed="seed",
        inbox_prefix="_MINE",
        tls_first=True,
        jetstream_domain="hub",
        jetstream_api_prefix="api",
        color_scheme="",
    )
    settings = resolve({"context": "prod"}, store.environ)
    assert vars(settings) | {"sources": None, "warnings": None, "read_again": None} == {
        "url": "tls://prod:4222",
        "user": "me",
        "password": "p",
        "token": "t",
        "creds": f"{tmp_path}/c",
        "nkey": f"{tmp_path}/n",
        "tls_cert": f"{tmp_path}/cert",
        "tls_key": f"{tmp_path}/key",
        "tls_ca": f"{tmp_path}/ca",
        "tls_first": True,
        "user_jwt": "jwt",
        "user_seed": "seed",
        "inbox_prefix": "_MINE",
        "jetstream_domain": "hub",
        "jetstream_api_prefix": "api",
        "timeout": 5.0,
        "namespace": "",
        "context": "prod",
        "sources": None,
        "warnings": None,
        "read_again": None,
    }
    assert settings.sources["creds"] == "context prod"
    assert settings.sources["context"] == "flag --context"
    assert settings.sources["namespace"] == "default"


def test_which_context(store):
    for name in ("flagged", "environment", "selected"):
        store(name, url=f"nats://{name}:1")
    assert resolve({}, store.environ).url == "nats://127.0.0.1:4222"
    store.select("selected")
    assert resolve({}, store.environ).url == "nats://selected:1"
    environ = {**store.environ, "NATS_CONTEXT": "environment"}
    assert resolve({}, environ).url == "nats://environment:1"
    settings = resolve({"context": "flagged"}, environ)
    assert (settings.url, settings.context) == ("nats://flagged:1", "flagged")


def test_the_root_follows_xdg_config_home(store, tmp_path):
    elsewhere = tmp_path / "elsewhere/nats/context"
    elsewhere.mkdir(parents=True)
    (elsewhere / "there.json").write_text('{"url": "nats://there:1"}')
    environ = {**store.environ, "XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}
    assert resolve({"context": "there"}, environ).url == "nats://there:1"
    assert known_contexts(environ) == ["there"]


def test_a_context_by_its_path(store, tmp_path):
    (tmp_path / "mine.json").write_text('{"url": "nats://mine:1"}')
    for written in (str(tmp_path / "mine.json"), "~/mine.json"):
        settings = resolve({"context": written}, store.environ)
        assert (settings.url, settings.context, settings.sources["url"]) == ("nats://mine:1", "mine", "context mine")


def test_fields_are_overridden_one_by_one(store):
    store("prod", url="nats://prod:1", user="me", password="p")  # noqa: S106
    settings = resolve({"context": "prod", "user": "you"}, {**store.environ, "NATS_PASSWORD": "q"})
    assert (settings.url, settings.user, settings.password) == ("nats://prod:1", "you", "q")
    assert settings.warnings == ()


def test_a_missing_context(store):
    store("staging")
    for overrides, environ, named_by in (
        ({"context": "prod"}, {}, "flag --context"),
        ({}, {"NATS_CONTEXT": "prod"}, "environment NATS_CONTEXT"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            resolve(overrides, {**store.environ, **environ})
        assert str(store.directory / "prod.json") in caught.value.message
        assert named_by in caught.value.message
        assert caught.value.hint == "Known contexts: staging."


def test_a_selected_context_that_is_missing(store):
    store.select("gone")
    with pytest.raises(ConfigurationError, match=r"'gone' \(selected in .*context\.txt\) does not exist"):
        resolve({"url": "nats://a:1"}, store.environ)


@pytest.mark.parametrize("name", ["../prod", "a/b", "..", "a\\b"])
def test_a_name_that_is_a_path(store, name):
    with pytest.raises(ConfigurationError, match="not the name of a NATS context"):
        resolve({"context": name}, store.environ)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"url": ', "is not JSON: Expecting value in line 1, column 9"),
        ("[]", "does not hold a JSON object"),
        ('{"url": 5}', "'url' must be a string"),
        ('{"tls_first": "yes"}', "'tls_first' must be true or false"),
    ],
)
def test_a_malformed_file(store, text, message):
    path = store("prod", text)
    with pytest.raises(ConfigurationError) as caught:
        resolve({"context": "prod"}, store.environ)
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_a_file_that_is_not_text(store):
    store("prod").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve({"context": "prod"}, store.environ)


def test_another_url_with_the_credentials_of_the_context(store):
    store("prod", url="nats://prod:1", user="me", password="p")  # noqa: S106
    (warning,) = resolve({"context": "prod", "url": "nats://other:1"}, store.environ).warnings
    assert warning == "The URL is that of flag --nats-url, but the context 'prod' still provides user and password."
    assert resolve({"context": "prod"}, store.environ).warnings == ()
    assert resolve({"context": "prod", "url": "a", "user": "you", "password": "q"}, store.environ).warnings == ()


def test_a_url_with_a_context_that_has_none(store):
    store("accounts", token="t")  # noqa: S106
    assert resolve({"context": "accounts", "url": "nats://a:1"}, store.environ).warnings == ()


def test_credentials_that_the_context_shadows(store, tmp_path):
    (tmp_path / "my.creds").write_text("")
    store("prod", url="nats://prod:1", user="me", password="p")  # noqa: S106
    (warning,) = resolve({"context": "prod", "creds": "~/my.creds"}, store.environ).warnings
    assert warning == "flag --creds has no effect: the user of the context 'prod' is used first."


def test_keys_without_effect_give_a_warning(store):
    store("prod", url="nats://prod:1", nsc="nsc://o/a/u", socks_proxy="")
    (warning,) = resolve({"context": "prod"}, store.environ).warnings
    assert "sets nsc, which durablectl does not support" in warning
