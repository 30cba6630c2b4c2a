"""`durablectl serve-api`: the HTTP API alone."""

from __future__ import annotations

import logging

from durablectl.cli.boundary import asynchronous
from durablectl.cli.http_api import serving_api, warn_if_open
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.http_api import with_http
from durablectl.cli.options.logs import LogFormat, LogLevel
from durablectl.cli.terminal.logs import configure_logs
from durablectl.http.server_options import HttpOptions
from durablectl.settings import Settings

_log = logging.getLogger("durablectl.http")


@asynchronous(fast=True)
@with_connection
@with_http()
async def serve_api(
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    *,
    http: HttpOptions,
    settings: Settings,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C; any number may run, and none keeps anything.

    Example: durablectl serve-api --http-port 8080 --read-only
    """
    configure_logs(log_format, log_level)
    warn_if_open(http)
    async with serving_api(http, settings, "durablectl serve-api") as (url, stop):
        _log.info("The HTTP API listens on %s.", url)
        await stop.wait()
        _log.info("Stopping.")
