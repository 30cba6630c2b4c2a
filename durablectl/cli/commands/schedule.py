"""`durablectl schedule`: recurring starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_from, complete_handler, complete_schedule
from durablectl.cli.handler_notes import note_unserved_handler
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.json_input import read_input
from durablectl.cli.options.output import with_output
from durablectl.cli.options.times import with_times
from durablectl.cli.render.formatting import TimeFormat
from durablectl.cli.terminal.output import WIDE, Output, OutputFormat, note, show, stdout_console
from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.schedules import OVERLAPS, SKIP
from durablectl.model.user_input import parse_duration
from durablectl.settings import Settings

if TYPE_CHECKING:
    from durablectl.control import ScheduleView

_ONE = (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL)
_New = Annotated[str, typer.Argument(metavar="NAME")]
_Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_schedule)]


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def create(
    name: _New,
    handler: Annotated[
        str, typer.Argument(metavar="HANDLER", help="The workflow to start.", autocompletion=complete_handler)
    ],
    cron: Annotated[
        str, typer.Option("--cron", metavar="'M H D M W'", help="Minute, hour, day of month, month, day of week.")
    ] = "",
    every: Annotated[str | None, typer.Option("--every", metavar="DURATION", help="30s, 5m, 2h, 1d.")] = None,
    time_zone: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Of --cron, as Europe/Berlin; UTC without it.")
    ] = None,
    input_text: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input, as JSON.")
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="|".join(OVERLAPS),
            help="What to do while the last one still runs.",
            autocompletion=complete_from(OVERLAPS),
        ),
    ] = SKIP,
    partition_key: Annotated[str, typer.Option(metavar="KEY", help="The partition of the command.")] = "",
    *,
    settings: Settings,
    output: Output,
) -> None:
    """Start a workflow again and again, from now on.

    Of the fires that are missed while no processor is there, one is caught up.

    Example: durablectl schedule create report daily_report --cron '0 9 * * 1-5' --tz Europe/Berlin
    """
    if time_zone is not None and not cron:
        raise UsageError("--tz is about --cron, which was not given.", hint="Add --cron, or leave --tz out.")
    interval = 0 if every is None else _whole_seconds(every)
    value = read_input(input_text)

    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view = await control.create_schedule(
            store,
            name,
            handler,
            input=value,
            cron=cron,
            every=interval,
            time_zone=time_zone or "UTC",
            overlap=overlap,
            partition_key=partition_key,
        )
        _print_change(view, "Created", output)
        await note_unserved_handler(store, handler)


def _whole_seconds(text: str) -> int:
    interval = parse_duration(text, "--every")
    if interval != int(interval):
        raise UsageError(f"The --every cannot be used: {text!r} is not a whole number of seconds.")
    return int(interval)


@asynchronous
@with_connection
@with_output
@with_times
async def list_(*, times: TimeFormat, settings: Settings, output: Output) -> None:
    """List the schedules, by name.

    Example: durablectl schedule list -o wide
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        views = await control.list_schedules(store)
    if output.format is OutputFormat.JSON:
        output.print_json({"schedules": [view.to_json() for view in views]})
        return
    from durablectl.cli.render.schedules import schedule_lines, schedule_table

    wide = output.format is OutputFormat.WIDE
    if output.format is OutputFormat.JSONL:
        for view in views:
            output.print_json(view.to_json())
    elif output.format is OutputFormat.NAME:
        for view in views:
            typer.echo(view.schedule.name)
    elif views and output.decorated:
        console = stdout_console()
        show(console, schedule_table(views, SYSTEM_CLOCK.now(), WIDE if wide else console.width, times))
    elif views:
        typer.echo(schedule_lines(views, SYSTEM_CLOCK.now(), times))
    if not views and output.format is not OutputFormat.JSONL:
        note("No schedules. Create one with `durablectl schedule create`.")


@asynchronous
@with_connection
@with_output(formats=_ONE)
@with_times
async def get(name: _Name, *, times: TimeFormat, settings: Settings, output: Output) -> None:
    """Show one schedule: when it fires, and what came of it.

    Example: durablectl schedule get report
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view = await control.get_schedule(store, name)
    if output.is_json:
        output.print_json(view.to_json())
        return
    from durablectl.cli.render.schedules import schedule_page, schedule_text

    if not output.decorated:
        typer.echo(schedule_text(view, SYSTEM_CLOCK.now(), times))
        return
    show(stdout_console(), schedule_page(view, SYSTEM_CLOCK.now(), times))


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def pause(name: _Name, *, settings: Settings, output: Output) -> None:
    """Start nothing more until it is resumed.

    Example: durablectl schedule pause report
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view, changed = await control.pause_schedule(store, name)
    _print_change(view, "Paused" if changed else "It was paused already", output, changed=changed)


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def resume(name: _Name, *, settings: Settings, output: Output) -> None:
    """Go on, without catching up.

    What it would have started while it was paused is not started any more.

    Example: durablectl schedule resume report
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        view, changed = await control.resume_schedule(store, name)
    _print_change(view, "Resumed" if changed else "It was not paused", output, changed=changed)


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def delete(name: _Name, *, settings: Settings, output: Output) -> None:
    """Remove a schedule; what it has started goes on.

    Example: durablectl schedule delete report
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        await control.delete_schedule(store, name)
    if output.is_json:
        output.print_json({"name": name, "deleted": True})
    else:
        typer.echo("Deleted.")


@asynchronous
@with_connection
@with_output(formats=_ONE)
async def trigger(name: _Name, *, settings: Settings, output: Output) -> None:
    """Start its workflow now, and print the invocation id.

    Even while the schedule is paused, or the last workflow still runs.

    Example: durablectl schedule trigger report
    """
    from durablectl import control
    from durablectl.storage.connection.store import open_store

    async with open_store(settings) as store:
        invocation_id = await control.trigger_schedule(store, name)
    if output.is_json:
        output.print_json({"invocation_id": invocation_id, "schedule": name})
    else:
        typer.echo(invocation_id)


def _print_change(view: ScheduleView, done: str, output: Output, *, changed: bool = True) -> None:
    if output.is_json:
        output.print_json({**view.to_json(), "changed": changed})
        return
    from durablectl.cli.render.schedules import next_start

    typer.echo(f"{done}{next_start(view, SYSTEM_CLOCK.now(), relative=output.decorated)}.")
