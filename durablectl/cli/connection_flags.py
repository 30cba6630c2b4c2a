"""The flags of the connection: their names, the settings that they make, and which may be printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from durablectl.settings import DEFAULT_URL, Settings, resolve

if TYPE_CHECKING:
    import typer

CONNECTION_FLAGS: Sequence[tuple[str, str, str, tuple[str, ...], str, str]] = (
    # parameter, field of Settings, metavar, declarations, help, environment variable
    (
        "nats_url",
        "url",
        "URL",
        ("--nats-url", "-s"),
        f"NATS servers, comma-separated (default {DEFAULT_URL}).",
        "NATS_URL",
    ),
    ("nats_context", "context", "NAME", ("--context",), "NATS context: a name, or a .json file.", "NATS_CONTEXT"),
    ("creds", "creds", "FILE", ("--creds",), "Credentials file.", "NATS_CREDS"),
    ("nkey", "nkey", "FILE", ("--nkey",), "NKey seed file.", "NATS_NKEY"),
    ("user", "user", "NAME", ("--user",), "User name; without a password it is a token.", "NATS_USER"),
    ("password", "password", "TEXT", ("--password",), "Password.", "NATS_PASSWORD"),
    ("token", "token", "TEXT", ("--token",), "Token.", "NATS_TOKEN"),
    ("tlscert", "tls_cert", "FILE", ("--tlscert",), "TLS client certificate.", "NATS_CERT"),
    ("tlskey", "tls_key", "FILE", ("--tlskey",), "TLS client key.", "NATS_KEY"),
    ("tlsca", "tls_ca", "FILE", ("--tlsca",), "TLS certificate authority.", "NATS_CA"),
    ("namespace", "namespace", "NAME", ("--namespace",), "Namespace of streams and buckets.", "DURABLECTL_NAMESPACE"),
    ("timeout", "timeout", "DURATION", ("--timeout",), "How long to wait for the server (default 5s).", "NATS_TIMEOUT"),
)
_SECRET = frozenset({"user", "password", "token"})


def connection_settings(values: Mapping[str, Any]) -> Settings:
    """What the connection flags among these values of parameters say. Raises what ``resolve`` raises."""
    return resolve({field: values.get(parameter) for parameter, field, *_ in CONNECTION_FLAGS})


def may_be_secret(name: str, value: object) -> bool:
    """Whether this value of a connection option is not to be printed."""
    return name in _SECRET or (name == "nats_url" and "@" in str(value))


def given_connection_flags(context: typer.Context) -> list[str]:
    """The connection flags that were given, without what may be a secret."""
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        value = context.params.get(name)
        is_connection = getattr(parameter, "rich_help_panel", "") == "Connection"
        if is_connection and value is not None and not may_be_secret(name, value):
            words += [parameter.opts[0], str(value)]
    return words
