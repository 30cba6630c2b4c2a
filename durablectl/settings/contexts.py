"""The NATS CLI's context files: where they lie, which one is selected, what it says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from durablectl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: Mapping[str, str] = {
    "url": "url",
    "user": "user",
    "password": "password",
    "token": "token",
    "creds": "creds",
    "nkey": "nkey",
    "tls_cert": "cert",
    "tls_key": "key",
    "tls_ca": "ca",
    "tls_first": "tls_first",
    "user_jwt": "user_jwt",
    "user_seed": "user_seed",
    "inbox_prefix": "inbox_prefix",
    "jetstream_domain": "jetstream_domain",
    "jetstream_api_prefix": "jetstream_api_prefix",
}
"""Field of Settings -> key in the context file."""

_UNSUPPORTED = ("nsc", "socks_proxy", "windows_cert_store")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class NatsContext:
    """``values`` holds only what the file sets; ``unsupported`` the keys that are set but have no effect here."""

    name: str
    path: Path
    values: Mapping[str, str | bool]
    unsupported: tuple[str, ...] = ()


def home_directory(environ: Mapping[str, str]) -> Path:
    """Of the user, by ``HOME`` where it is set."""
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def nats_directory(environ: Mapping[str, str]) -> Path:
    """The NATS CLI's configuration directory."""
    parent = environ.get("XDG_CONFIG_HOME")
    return (Path(parent) if parent else home_directory(environ) / ".config") / "nats"


def known_contexts(environ: Mapping[str, str]) -> list[str]:
    """Names of all stored contexts, sorted."""
    return sorted(path.stem for path in (nats_directory(environ) / "context").glob("*.json"))


def selected_context(environ: Mapping[str, str]) -> str:
    """The name in ``context.txt``; "" where none is selected."""
    try:
        return (nats_directory(environ) / "context.txt").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def load_context(name: str, environ: Mapping[str, str], *, named_by: str) -> NatsContext:
    """``name`` is a context's name, or the path of a file that ends in ``.json``.

    ``named_by`` tells in errors who asked for it. Raises ConfigurationError for a missing or malformed file.
    """
    path = Path(expand_variables(name, environ)) if name.endswith(".json") else _path_of(name, environ, named_by)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(known_contexts(environ))
        raise ConfigurationError(
            f"The NATS context {name!r} ({named_by}) does not exist: there is no file {path}.",
            hint=f"Known contexts: {known}." if known else "No NATS context is stored; `nats context add` creates one.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The NATS context {name!r} ({named_by}) cannot be read: {error}.") from error
    return _parse(name, path, text)


def expand_variables(value: str, environ: Mapping[str, str]) -> str:
    """With ``~`` and ``$VAR`` replaced as in a shell; a variable that is not set stays as it is written."""
    value = _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], match[0]), value)
    return str(home_directory(environ)) + value[1:] if value == "~" or value.startswith("~/") else value


def _path_of(name: str, environ: Mapping[str, str], named_by: str) -> Path:
    if ".." in name or "/" in name or "\\" in name:
        raise ConfigurationError(
            f"{name!r} ({named_by}) is not the name of a NATS context.",
            hint="Give a name without '/' and '..', or the path of a file that ends in .json.",
        )
    return nats_directory(environ) / "context" / f"{name}.json"


def _parse(name: str, path: Path, text: str) -> NatsContext:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The NATS context file {path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"The NATS context file {path} does not hold a JSON object.")
    values: dict[str, str | bool] = {}
    for field, key in KEYS.items():
        value = content.get(key)
        wanted = bool if field == "tls_first" else str
        if value is not None and not isinstance(value, wanted):
            kind = "true or false" if wanted is bool else "a string"
            raise ConfigurationError(f"In the NATS context file {path}, {key!r} must be {kind}.")
        if value:
            values[field] = value
    return NatsContext(
        name=path.stem if name.endswith(".json") else name,
        path=path,
        values=values,
        unsupported=tuple(key for key in _UNSUPPORTED if content.get(key)),
    )
