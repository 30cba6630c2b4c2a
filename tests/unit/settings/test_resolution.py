"""Flag over environment over context over default, field by field."""

from __future__ import annotations

import pytest

from durablectl.durations import parse_seconds
from durablectl.errors import ConfigurationError, InvalidNameError, UsageError
from durablectl.settings import DEFAULT_URL, Settings, resolve
from durablectl.settings.resolution import ENVIRONMENT, FLAGS


def test_nothing_given():
    settings = resolve({}, {"HOME": "/nowhere"})
    assert settings == Settings(url=DEFAULT_URL, timeout=5.0)
    assert set(settings.sources.values()) == {"default"}
    assert settings.warnings == ()


@pytest.fixture
def files(tmp_path):
    for name in ("flag", "environment"):
        (tmp_path / name).write_text(name)
    return {"flag": str(tmp_path / "flag"), "environment": str(tmp_path / "environment")}


VALUES = {
    "url": ("nats://flag:1", "nats://environment:2"),
    "namespace": ("flag", "environment"),
    "timeout": ("1s", "2s"),
    "user": ("flag", "environment"),
    "password": ("flag", "environment"),
    "token": ("flag", "environment"),
}


@pytest.mark.parametrize("field", sorted(FLAGS.keys() - {"context"}))
def test_flag_over_environment_over_default(field, files):
    flag, environment = VALUES.get(field, (files["flag"], files["environment"]))
    expected = parse_seconds if field == "timeout" else str
    environ = {"HOME": "/nowhere", ENVIRONMENT[field]: environment}

    both = resolve({field: flag}, environ)
    assert (getattr(both, field), both.sources[field]) == (expected(flag), f"flag {FLAGS[field]}")
    for empty in ({}, {field: None}, {field: ""}):
        one = resolve(empty, environ)
        assert (getattr(one, field), one.sources[field]) == (expected(environment), f"environment {ENVIRONMENT[field]}")
    none = resolve({field: ""}, {"HOME": "/nowhere", ENVIRONMENT[field]: ""})
    assert (getattr(none, field), none.sources[field]) == (getattr(Settings(), field), "default")


def test_names_of_flags_and_variables_are_those_of_the_nats_cli():
    assert {v for v in ENVIRONMENT.values() if v.startswith("NATS_")} == {
        *("NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_CREDS", "NATS_NKEY"),
        *("NATS_CERT", "NATS_KEY", "NATS_CA", "NATS_TIMEOUT", "NATS_CONTEXT"),
    }
    assert ENVIRONMENT["namespace"] == "DURABLECTL_NAMESPACE"


def test_python_code_names_its_arguments():
    assert resolve({"url": "nats://a:1"}, {}, kind="argument").sources["url"] == "argument url"
    with pytest.raises(TypeError, match="hostname"):
        resolve({"hostname": "a"}, {})


def test_secrets_are_never_shown():
    secret = "s3cr3t"  # noqa: S105
    settings = Settings(
        url=f"nats://me:{secret}@a:1,nats://{secret}@b:2",
        user="me",
        password=secret,
        token=secret,
        user_jwt=secret,
        user_seed=secret,
        sources={"x": secret},
    )
    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert settings.display_url == "nats://a:1, nats://b:2"
    assert "nats://a:1, nats://b:2" in repr(settings)
    with pytest.raises(UsageError) as caught:
        resolve({"url": f"http://me:{secret}@a:1"}, {})
    assert secret not in caught.value.message


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("localhost", "nats://localhost"),
        ("10.0.0.1:4333", "nats://10.0.0.1:4333"),
        ("nats://a:1, tls://b:2,", "nats://a:1,tls://b:2"),
        ("wss://a/path", "wss://a/path"),
        ("nats://[::1]:4222", "nats://[::1]:4222"),
    ],
)
def test_urls(given, url):
    assert resolve({"url": given}, {}).url == url


@pytest.mark.parametrize("url", ["http://a", "nats://", "nats://a:port", "nats://[::1", ",", "a:99999"])
def test_bad_urls(url):
    with pytest.raises(UsageError, match="flag --nats-url"):
        resolve({"url": url}, {})
    with pytest.raises(ConfigurationError, match="environment NATS_URL"):
        resolve({}, {"NATS_URL": url})


@pytest.mark.parametrize(
    ("text", "value"),
    [("5s", 5), ("1m30s", 90), ("500ms", 0.5), ("2", 2), ("0.25", 0.25), ("1.5h", 5400), (".5s", 0.5), ("1d", 86_400)],
)
def test_durations(text, value):
    assert resolve({"timeout": text}, {}).timeout == pytest.approx(value)


@pytest.mark.parametrize("text", ["soon", "5 s", "-1s", "0", "0s", "5s!", "1y", "nan", "inf"])
def test_bad_durations(text):
    with pytest.raises(UsageError, match="timeout"):
        resolve({"timeout": text}, {})


@pytest.mark.parametrize("name", ["a", "prod-1", "A_b", "x" * 64])
def test_namespaces(name):
    assert resolve({"namespace": name}, {}).namespace == name


@pytest.mark.parametrize(
    ("name", "named"), [("a.b", "'.'"), ("*", "'*'"), ("a b", "' '"), ("ü", "'ü'"), ("a\n", "U+000A")]
)
def test_a_bad_namespace_names_the_character(name, named):
    with pytest.raises(InvalidNameError) as caught:
        resolve({}, {"DURABLECTL_NAMESPACE": name})
    assert named in caught.value.message
    assert caught.value.exit_code == 2


def test_a_namespace_too_long():
    with pytest.raises(InvalidNameError, match="65 characters"):
        resolve({"namespace": "x" * 65}, {})


def test_a_file_that_does_not_exist(tmp_path):
    missing = str(tmp_path / "no.creds")
    with pytest.raises(UsageError, match=r"no\.creds \(flag --creds\) does not exist"):
        resolve({"creds": missing}, {})
    with pytest.raises(ConfigurationError, match=r"no\.creds \(environment NATS_CREDS\) does not exist"):
        resolve({}, {"NATS_CREDS": missing})


def test_home_and_variables_in_paths(tmp_path):
    (tmp_path / "my.creds").write_text("")
    environ = {"HOME": str(tmp_path), "WHERE": str(tmp_path)}
    for written in ("~/my.creds", "$WHERE/my.creds", "${WHERE}/my.creds"):
        assert resolve({"creds": written}, environ).creds == str(tmp_path / "my.creds")
    with pytest.raises(UsageError, match=r"\$UNSET/my\.creds"):
        resolve({"creds": "$UNSET/my.creds"}, environ)
