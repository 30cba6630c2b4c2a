"""`durablectl run processor` and `durablectl run service`: the long-running processes of an app."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.http_api import with_http
from durablectl.cli.options.logs import LogFormat, LogLevel
from durablectl.cli.terminal.logs import configure_logs
from durablectl.errors import AppError, UsageError
from durablectl.http.server_options import HttpOptions
from durablectl.limits import LONGEST_SECONDS, checked_seconds
from durablectl.model.user_input import parse_duration
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.engine.sdk.app_loader import App

_log = logging.getLogger("durablectl.run")

_Apps = Annotated[
    list[str] | None,
    typer.Argument(metavar="[APP]...", help="module, module:attribute or path/to/file.py (env DURABLECTL_APP)."),
]


@asynchronous(fast=True)
@with_connection
@with_http(optional=True)
async def processor(
    apps: _Apps = None,
    max_concurrent: Annotated[int, typer.Option(min=1, help="How many workflows it executes at once.")] = 100,
    ack_wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Without a sign of life for so long, its work goes to another.")
    ] = 300,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long steps may take to end when it is stopped.")
    ] = 10,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, max=5, help="Replicas of the streams; without it they stay as they are."),
    ] = None,
    retention: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Remove what has ended after so long: 30d. Kept for ever.")
    ] = None,
    app_version: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Release or commit of the app, for errors (env DURABLECTL_APP_VERSION)."),
    ] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    *,
    http: HttpOptions,
    settings: Settings,
) -> None:
    """Execute the workflows of an app until SIGTERM or Ctrl-C.

    Then it takes no more, gives steps --grace seconds to end, and hands the rest back; a second signal ends it at once.
    Example: durablectl run processor shop.workflows --max-concurrent 20
    """
    checked_seconds(ack_wait, "The --ack-wait", zero=False)
    checked_seconds(grace, "The --grace")
    keep = 0.0 if retention is None else _retention(retention, ack_wait)
    configure_logs(log_format, log_level)

    from durablectl.cli import version
    from durablectl.cli.http_api import sidecar_api
    from durablectl.cli.stop_signals import stop_signals
    from durablectl.engine.worker.garbage_collection import collect_seldom
    from durablectl.engine.worker.processor import Processor, ProcessorOptions
    from durablectl.storage.connection.store import open_store
    from durablectl.system.workflows import system_workflows

    app = _app(apps or ())
    if not app.workflows:
        services = f"; it defines the services {', '.join(sorted(app.services))}" if app.services else ""
        raise AppError(
            f"The app {' '.join(app.names)} defines no workflow{services}.",
            hint="Mark coroutines with @workflow. Services run with `durablectl run service`.",
        )
    named = os.environ.get("DURABLECTL_APP_VERSION", "") if app_version is None else app_version
    options = ProcessorOptions(max_concurrent, ack_wait, grace, replicas, version(), keep, named)
    collect_seldom()
    with stop_signals(grace) as stop:
        async with open_store(settings, name="durablectl processor") as store:
            processor = Processor(store, app, options, system_workflows(store))
            async with sidecar_api(http, settings, (log_format, log_level), processor.metrics.text):
                await processor.run(stop, stop_requested_at=lambda: stop.requested_at)


@asynchronous(fast=True)
@with_connection
async def service(
    apps: _Apps = None,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long requests may take to end when it is stopped.")
    ] = 10,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    *,
    settings: Settings,
) -> None:
    """Host the services of an app as NATS micro services until SIGTERM or Ctrl-C.

    Example: durablectl run service shop/services.py
    """
    checked_seconds(grace, "The --grace")
    configure_logs(log_format, log_level)

    from durablectl.cli.stop_signals import stop_signals
    from durablectl.engine.worker.service_host import hosted
    from durablectl.storage.connection.store import open_store

    app = _app(apps or ())
    if not app.services:
        raise AppError(
            f"The app {' '.join(app.names)} defines no service.",
            hint='Mark classes with @service("Name"). Workflows run with `durablectl run processor`.',
        )
    with stop_signals(grace) as stop:
        async with (
            open_store(settings, name="durablectl service") as store,
            hosted(store, app.services.values(), grace=grace),
        ):
            await stop.wait()
            _log.info("Stopping.")


def _retention(text: str, ack_wait: float) -> float:
    keep = parse_duration(text, "--retention")
    if not 1 <= keep <= LONGEST_SECONDS:
        raise UsageError(f"The --retention {text} is out of range.", hint="Use one second to 100 years.")
    if keep <= ack_wait:
        raise UsageError(
            f"The --retention {text} is not longer than the --ack-wait of {ack_wait:g} s. The command of a processor "
            "that died comes again only after that, and would start anew what has been removed by then.",
            hint="Keep what has ended for longer, or lower --ack-wait.",
        )
    return keep


def _app(given: Sequence[str]) -> App:
    from durablectl.engine.sdk.app_loader import SAMPLE_APP, choose_app, load_app

    names, source = choose_app(given)
    if source == "sample":
        _log.warning(
            "No app was named: running the sample app %s. Name yours as an argument, in DURABLECTL_APP, "
            "or in pyproject.toml as [tool.durablectl] app.",
            SAMPLE_APP,
        )
    return load_app(names, source)
