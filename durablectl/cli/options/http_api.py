"""The options of an HTTP API, as the commands share them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from durablectl.cli.options.signatures import extend, option
from durablectl.errors import UsageError
from durablectl.http.server_options import DEFAULT_PORT, HttpOptions, check, check_token, read_token

R = TypeVar("R")

TOKEN_VARIABLE = "DURABLECTL_API_TOKEN"  # noqa: S105  # the name of a variable
PORT_VARIABLE = "DURABLECTL_HTTP_PORT"
_LARGEST_PORT = 65535
_PANEL = "HTTP API"


def with_http(*, optional: bool = False, port_only: bool = False) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add the options of an HTTP API; the command gets the keyword ``http: HttpOptions`` instead of them.

    Where it is ``optional``, port 0 switches it off; else that takes a free one. UsageError and ConfigurationError for
    what cannot be.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        added = [_port("switches it off" if optional else "takes a free one"), *(() if port_only else _others())]
        return extend(function, "http", added, lambda values: {"http": _chosen(values, optional=optional)})

    return decorate


def _port(zero: str) -> Any:
    text = f"Where the HTTP API listens; 0 {zero} (default {DEFAULT_PORT}, env {PORT_VARIABLE})."
    return option(
        "http_port",
        int | None,
        None,
        typer.Option(min=0, max=_LARGEST_PORT, metavar="PORT", help=text, rich_help_panel=_PANEL),
    )


def _others() -> list[Any]:
    def row(name: str, annotation: Any, text: str, metavar: str | None = None, *, default: object = None) -> Any:
        flag = f"--{name.replace('_', '-')}"
        return option(name, annotation, default, typer.Option(flag, metavar=metavar, help=text, rich_help_panel=_PANEL))

    token = f"The token that requests must send (env {TOKEN_VARIABLE}: the token)."
    return [
        row("http_host", str, "Where the HTTP API listens.", "ADDRESS", default="127.0.0.1"),
        row("api_token_file", Path | None, token, "FILE"),
        row("read_only", bool, "Change nothing over HTTP, whoever asks.", default=False),
        row("insecure", bool, "Listen beyond this machine although there is no token.", default=False),
        row("cors_origin", list[str] | None, "Whose pages may use it; repeatable.", "ORIGIN"),
        row("tls_cert", str, "Certificate chain, to serve HTTPS.", "FILE", default=""),
        row("tls_key", str, "Its private key.", "FILE", default=""),
    ]


def _chosen(values: dict[str, Any], *, optional: bool) -> HttpOptions:
    port = _default_port() if values["http_port"] is None else values["http_port"]
    if optional and not port:
        return HttpOptions(port=0)
    token = os.environ.get(TOKEN_VARIABLE, "")
    file = values.get("api_token_file")
    options = HttpOptions(
        host=values.get("http_host", "127.0.0.1"),
        port=port,
        token=read_token(file) if file else check_token(token, TOKEN_VARIABLE) if token else "",
        read_only=values.get("read_only", False),
        cors_origins=values.get("cors_origin") or (),
        tls_cert=values.get("tls_cert", ""),
        tls_key=values.get("tls_key", ""),
    )
    check(options, insecure=values.get("insecure", False))
    return options


def _default_port() -> int:
    text = os.environ.get(PORT_VARIABLE, "") or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdecimal() and int(text[:6]) <= _LARGEST_PORT):
        raise UsageError(f"{PORT_VARIABLE}={text} is no port.", hint=f"It takes a number from 0 to {_LARGEST_PORT}.")
    return int(text)
