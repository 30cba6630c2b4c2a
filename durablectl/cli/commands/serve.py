"""`durablectl serve-api`: the HTTP API alone."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completing import complete_from
from durablectl.cli.logs import FORMATS, LEVELS, configure_logs
from durablectl.cli.options import with_connection
from durablectl.settings import Settings

_log = logging.getLogger("durablectl.http")

TOKEN_VARIABLE = "DURABLECTL_API_TOKEN"  # noqa: S105  # the name of a variable
_WAIT_SECONDS = 1.5
"""For an answer of the NATS server: a request is told within two seconds that there is none."""


@asynchronous(fast=True)
@with_connection
async def serve_api(
    http_host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8080,
    api_token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"The token that requests must send (env {TOKEN_VARIABLE}: the token)."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing, whoever asks.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although there is no token.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Whose pages may use it; repeatable.")
    ] = None,
    tls_cert: Annotated[str, typer.Option(metavar="FILE", help="Certificate chain, to serve HTTPS.")] = "",
    tls_key: Annotated[str, typer.Option(metavar="FILE", help="Its private key.")] = "",
    log_format: Annotated[
        str,
        typer.Option(metavar="|".join(FORMATS), help="Of the log on stderr.", autocompletion=complete_from(FORMATS)),
    ] = "text",
    log_level: Annotated[
        str, typer.Option(metavar="|".join(LEVELS), help="The least to log.", autocompletion=complete_from(LEVELS))
    ] = "info",
    *,
    settings: Settings,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; any number may run, and none keeps anything.

    Example: durablectl serve-api --http-port 8080 --read-only
    """
    configure_logs(log_format, log_level)

    from durablectl.cli.about import version
    from durablectl.cli.stack import stop_signals
    from durablectl.http.app import create_app
    from durablectl.http.backend import Backend
    from durablectl.http.options import HttpOptions, check, check_token, read_token
    from durablectl.http.serving import serving

    token = check_token(os.environ[TOKEN_VARIABLE], TOKEN_VARIABLE) if os.environ.get(TOKEN_VARIABLE) else ""
    if api_token_file is not None:
        token = read_token(api_token_file)
    options = HttpOptions(
        host=http_host,
        port=http_port,
        token=token,
        read_only=read_only,
        cors_origins=cors_origin or (),
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    check(options, insecure=insecure)
    if not (options.is_local or token):
        _log.warning("Everybody who can reach %s can see and change workflows: there is no token.", http_host)
    backend = Backend()
    quick = replace(settings, timeout=min(settings.timeout, _WAIT_SECONDS))
    with stop_signals() as stop:
        async with (
            backend.connected(quick, "durablectl serve-api"),
            serving(create_app(backend, options, version()), options) as url,
        ):
            _log.info("The HTTP API listens on %s.", url)
            await stop.wait()
            _log.info("Stopping.")
