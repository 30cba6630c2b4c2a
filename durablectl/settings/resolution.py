"""Merging flags, environment and NATS context, field by field."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from durablectl.durations import parse_seconds
from durablectl.errors import ConfigurationError, DurableError, UsageError
from durablectl.settings import parsing
from durablectl.settings.connection_settings import Settings
from durablectl.settings.contexts import (
    KEYS,
    NatsContext,
    expand_variables,
    load_context,
    nats_directory,
    selected_context,
)

FLAGS: Mapping[str, str] = {
    "url": "--nats-url",
    "context": "--context",
    "creds": "--creds",
    "nkey": "--nkey",
    "user": "--user",
    "password": "--password",
    "token": "--token",
    "tls_cert": "--tlscert",
    "tls_key": "--tlskey",
    "tls_ca": "--tlsca",
    "namespace": "--namespace",
    "timeout": "--timeout",
}
"""Field of Settings -> command line flag."""

ENVIRONMENT: Mapping[str, str] = {
    "url": "NATS_URL",
    "context": "NATS_CONTEXT",
    "creds": "NATS_CREDS",
    "nkey": "NATS_NKEY",
    "user": "NATS_USER",
    "password": "NATS_PASSWORD",
    "token": "NATS_TOKEN",
    "tls_cert": "NATS_CERT",
    "tls_key": "NATS_KEY",
    "tls_ca": "NATS_CA",
    "namespace": "DURABLECTL_NAMESPACE",
    "timeout": "NATS_TIMEOUT",
}
"""Field of Settings -> environment variable."""

_FILES = ("creds", "nkey", "tls_cert", "tls_key", "tls_ca")
_IDENTITIES = (("user", "password"), ("creds",), ("nkey",), ("user_jwt", "user_seed"), ("token",))
SETTABLE = frozenset(field.name for field in fields(Settings)) - {"sources", "warnings", "read_again"}
"""Fields of Settings that can be given."""

_Layer = tuple[Mapping[str, Any], Mapping[str, str]]


def resolve(
    overrides: Mapping[str, str | None],
    environ: Mapping[str, str] = os.environ,
    *,
    kind: Literal["flag", "argument"] = "flag",
) -> Settings:
    """Flag, then environment, then NATS context, then default; an empty value counts as not given.

    ``overrides`` is keyed by the fields of Settings; ``kind`` is "argument" when they come from Python code instead of
    a command line. Raises UsageError (InvalidNameError for the namespace) for a bad override and ConfigurationError
    for a bad environment variable, context or file.
    """
    if unknown := overrides.keys() - SETTABLE:
        message = f"unknown settings: {', '.join(sorted(unknown))}"
        raise TypeError(message)
    layers = [_given(overrides, kind), _from_environment(environ)]
    context = _context(layers, environ)
    if context is not None:
        layers.append((context.values, dict.fromkeys(context.values, f"context {context.name}")))
    values: dict[str, Any] = {}
    sources = dict.fromkeys(sorted(SETTABLE), "default")
    for layer_values, layer_sources in reversed(layers):
        values.update(layer_values)
        sources.update(layer_sources)
    if context is not None:
        values["context"] = context.name
    values.update(_checked(values, sources, environ))
    return Settings(
        **values,
        sources=sources,
        warnings=tuple(_warnings(values, sources, context)),
        read_again=lambda: resolve(overrides, environ, kind=kind),
    )


def _given(overrides: Mapping[str, str | None], kind: str) -> _Layer:
    values = {name: value for name, value in overrides.items() if value}
    return values, {name: f"{kind} {FLAGS.get(name, name) if kind == 'flag' else name}" for name in values}


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    names = {field: variable for field, variable in ENVIRONMENT.items() if environ.get(variable)}
    return (
        {field: environ[variable] for field, variable in names.items()},
        {field: f"environment {variable}" for field, variable in names.items()},
    )


def _context(layers: list[_Layer], environ: Mapping[str, str]) -> NatsContext | None:
    for values, sources in layers:
        if name := values.get("context"):
            return load_context(name, environ, named_by=sources["context"])
    name = selected_context(environ)
    if not name:
        return None
    named_by = f"selected in {nats_directory(environ) / 'context.txt'}"
    layers.append(({"context": name}, {"context": named_by}))
    return load_context(name, environ, named_by=named_by)


def _checked(
    given: Mapping[str, Any], sources: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str | float]]:
    values = dict(given)
    for name, parse in (("url", parsing.urls), ("timeout", parse_seconds), ("namespace", parsing.namespace)):
        if name in values:
            try:
                yield name, parse(values[name])
            except ValueError as error:
                raise _error(f"The {name} of {sources[name]} cannot be used: {error}.", sources[name]) from None
    for name in _FILES:
        if name in values:
            path = expand_variables(values[name], environ)
            if not Path(path).exists():
                raise _error(f"The file {path} ({sources[name]}) does not exist.", sources[name])
            if not os.access(path, os.R_OK):
                raise _error(f"The file {path} ({sources[name]}) cannot be read.", sources[name])
            yield name, path


def _error(message: str, source: str) -> DurableError:
    return UsageError(message) if source.startswith(("flag", "argument")) else ConfigurationError(message)


def _warnings(values: Mapping[str, Any], sources: Mapping[str, str], context: NatsContext | None) -> Iterator[str]:
    if context is None:
        return
    for key in context.unsupported:
        yield f"The context {context.name!r} sets {key}, which durablectl does not support; it has no effect."
    in_url = {"user", "token"} if "@" in values.get("url", "") else set()  # what the URL says itself goes first
    given = [names for names in _IDENTITIES if values.get(names[0]) and names[0] not in in_url]
    if not given:
        return
    used = given[0]
    from_context = [KEYS[name] for name in used if sources[name] == f"context {context.name}"]
    if from_context and "url" in context.values and not sources["url"].startswith("context"):
        yield (
            f"The URL is that of {sources['url']}, but the context {context.name!r} still provides"
            f" {' and '.join(from_context)}."
        )
    for names in given[1:]:
        if from_context and not sources[names[0]].startswith("context"):
            yield (
                f"{sources[names[0]]} has no effect: the {KEYS[used[0]]} of the context {context.name!r} is used first."
            )
