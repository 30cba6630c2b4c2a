"""`durablectl dev`: the stack of the demo, staying up, with data that outlives it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.options.http_api import with_http
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.logs import configure_logs
from durablectl.cli.terminal.output import Output, OutputFormat, stdout_console, warn
from durablectl.errors import DurableError
from durablectl.http.server_options import HttpOptions
from durablectl.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durablectl.cli.render.local_stack import LocalStackView

_log = logging.getLogger(__name__)

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@asynchronous(fast=True)
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON))
@with_http(optional=True, port_only=True)
async def dev(
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            metavar="APP",
            help="What to run: module, module:attribute or path/to/file.py; repeatable. (env DURABLECTL_APP)",
        ),
    ] = None,
    data_dir: Annotated[Path, typer.Option(metavar="PATH", help="Where the data is kept.")] = Path(".durablectl"),
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the nats-server; 0 takes a free one.")] = 4222,
    sync: Annotated[str, typer.Option(metavar="2m|always", help="How often JetStream syncs its files to disk.")] = "2m",
    max_concurrent: Annotated[int, typer.Option(min=1, help="How many workflows are executed at once.")] = 100,
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="Namespace of streams and buckets. (env DURABLECTL_NAMESPACE)")
    ] = "",
    *,
    http: HttpOptions,
    output: Output,
) -> None:
    """Run nats-server, services and a processor on this machine until Ctrl-C, and keep the data for the next time.

    Example: durablectl dev --app shop.py --data-dir /tmp/shop
    """
    log_format = "json" if output.is_json else "text"
    configure_logs(log_format, "info")

    from durablectl.cli import version
    from durablectl.cli.local_stack import run_local_stack
    from durablectl.cli.stop_signals import stop_signals
    from durablectl.embedded import EmbeddedServer
    from durablectl.engine.sdk.app_loader import choose_app, load_app
    from durablectl.engine.worker.processor import ProcessorOptions
    from durablectl.settings.parsing import namespace as checked

    namespace = checked(namespace or os.environ.get("DURABLECTL_NAMESPACE", ""))
    app = load_app(*choose_app(apps or ()))
    logger = logging.getLogger("durablectl")
    logger.setLevel(logging.WARNING)  # until the banner is out, which tells the same
    server = EmbeddedServer(data_dir, port=nats_port, sync=sync)
    _make(data_dir)
    options = ProcessorOptions(max_concurrent, version=version())
    with stop_signals(options.grace) as stop:
        async with run_local_stack(
            server,
            app,
            options,
            namespace=namespace,
            http=http,
            log_format=log_format,
            stop_requested_at=lambda: stop.requested_at,
        ) as stack:
            _announce(stack.view, data_dir, output)
            logger.setLevel(logging.NOTSET)
            await stop.wait()
            _log.info("Stopping.")


def _make(directory: Path) -> None:
    """With a .gitignore of its own: it lies in the user's project, and its content is nobody's source."""
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        return
    (directory / ".gitignore").write_text("*\n", encoding="utf-8")


def _announce(view: LocalStackView, data_dir: Path, output: Output) -> None:
    exports = list(_exports(view))
    if output.is_json:
        output.print_json({**view.to_json(), "data_dir": str(data_dir)})
        return
    from durablectl.cli.render.local_stack import command_lines, component_table, dev_rows

    rows = dev_rows(view, str(data_dir))
    tries = [*exports, *_commands(view)]
    if not output.decorated:
        for label, text in rows:
            typer.echo(f"{label}\t{text}")
        for command in tries:
            typer.echo(f"try\t{command}")
        return
    console = stdout_console()
    console.print("durablectl dev", style="bold")
    console.print()
    console.print(component_table(rows))
    console.print("\nIn another terminal:", command_lines(tries), "\nCtrl-C stops it.\n", sep="\n", soft_wrap=True)


def _exports(view: LocalStackView) -> Iterator[str]:
    """What other commands need to find this server, with a warning where something else points them elsewhere."""
    try:
        others = resolve({})
    except DurableError as error:
        warn(f"Other commands cannot connect as it is: {error.message}")
        yield f"export NATS_URL={view.nats_url}"
        return
    source = others.sources["url"]
    if not _same(others.url, view.nats_url):
        if source != "default":
            warn(f"Other commands connect to {others.display_url} ({source}), not to the server of this one.")
        yield f"export NATS_URL={view.nats_url}"
    if others.namespace != view.namespace:
        yield f"export DURABLECTL_NAMESPACE={view.namespace}"


def _same(urls: str, ours: str) -> bool:
    """Whether all of them, comma-separated as in NATS_URL, are this one."""
    others = [urlsplit(url) for url in urls.split(",")]
    return all(url.hostname in _LOOPBACK and (url.port or 4222) == urlsplit(ours).port for url in others)


def _commands(view: LocalStackView) -> Iterator[str]:
    if "async_workflow" in view.workflows and view.app_source == "sample":
        yield """durablectl wf start async_workflow --input '"user-001"' --wait"""
        yield """durablectl wf start slow_workflow --input '"report"'"""
    elif view.workflows:
        yield f"durablectl wf start {view.workflows[0]}"
    yield "durablectl wf list"
    yield "durablectl wf watch ID"
