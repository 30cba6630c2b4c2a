"""`durablectl wf watch`: one workflow or the newest as they change, pushed by JetStream."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from durablectl.cli.boundary import asynchronous
from durablectl.cli.completion.completers import complete_id
from durablectl.cli.options.connection import with_connection
from durablectl.cli.options.filters import with_filters
from durablectl.cli.options.output import with_output
from durablectl.cli.terminal.follow import end_with_reader, log_warnings
from durablectl.cli.terminal.output import Output, OutputFormat, note, print_json
from durablectl.errors import UsageError, WorkflowCancelledError, WorkflowFailedError
from durablectl.model.status import Status
from durablectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from durablectl.query import Filters, Tree
    from durablectl.storage.connection.store import Store

_NEWEST = 50
_NEWEST_ON_TERMINAL = 100
_EXIT_CODES: Mapping[str, int] = {
    Status.FAILED: WorkflowFailedError.exit_code,
    Status.CANCELLED: WorkflowCancelledError.exit_code,
}


@asynchronous
@with_connection
@with_output(formats=(OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.JSONL))
@with_filters
async def watch(
    invocation_id: Annotated[str | None, typer.Argument(metavar="[ID]", autocompletion=complete_id)] = None,
    expand: Annotated[bool, typer.Option("--expand", help="With ID: also the steps of its children.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With ID: wait for it where it is not there yet.")] = False,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="With ID: exit with 10 if it failed, 11 if it was cancelled.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help=f"Without ID: at most so many of the newest (default: what fits, or {_NEWEST} as JSON).",
        ),
    ] = None,
    *,
    filters: Filters,
    settings: Settings,
    output: Output,
) -> int:
    """Follow a workflow live until it has ended, or with filters the newest ones until Ctrl-C.

    Off a terminal, or with --json, every change is one JSON object on a line: of a workflow with its journal and
    "child_workflows", of many the object of `wf list`, those that are there first.

    Example: durablectl wf watch order-17 --exit-status
    """
    from durablectl import query
    from durablectl.storage.connection.store import open_store

    given = {"--expand": expand, "--wait": wait, "--exit-status": exit_status}
    _check(invocation_id, [name for name, is_given in given.items() if is_given], filters != query.Filters(), limit)
    is_live = output.decorated and not output.is_json
    async with open_store(settings) as store:
        if invocation_id is None:
            filters = await query.by_server_time(store, filters)
            await (_show_board(store, filters, limit) if is_live else _print_changes(store, filters, limit))
            return 0

        def absent() -> None:
            note(f"There is no workflow {invocation_id} yet; waiting for it.")

        trees = query.watch_tree(store, invocation_id, expand=expand, on_absent=absent if wait else None)
        status = await (_show_tree(trees) if is_live else _print_tree(trees))
    return _EXIT_CODES.get(status, 0) if exit_status else 0


def _check(invocation_id: str | None, about_one: list[str], is_filtered: bool, limit: int | None) -> None:
    if invocation_id is None and about_one:
        raise UsageError(f"{about_one[0]} is about one workflow, but no ID was given.", hint="Name the workflow.")
    if invocation_id is not None and (is_filtered or limit is not None):
        raise UsageError(
            "An ID names one workflow, but filters or --limit were given too.", hint="Give an ID, or filters."
        )


async def _show_tree(trees: AsyncGenerator[Tree, None]) -> str:
    from durablectl.cli.terminal.live_screen import TreeScreen

    async with contextlib.aclosing(trees):
        last = await TreeScreen().show(trees)
    return "" if last is None else last.view.status


async def _print_tree(trees: AsyncGenerator[Tree, None]) -> str:
    status = ""
    with log_warnings(), end_with_reader():
        async with contextlib.aclosing(trees):
            async for tree in trees:
                status = tree.view.status
                print_json(tree.to_json(), one_line=True)
    return status


async def _show_board(store: Store, filters: Filters, limit: int | None) -> None:
    from durablectl import query
    from durablectl.cli.terminal.live_screen import BoardScreen

    async with contextlib.aclosing(query.watch_board(store, filters, limit or _NEWEST_ON_TERMINAL)) as boards:
        await BoardScreen().show(boards)


async def _print_changes(store: Store, filters: Filters, limit: int | None) -> None:
    from durablectl import query

    with log_warnings(), end_with_reader():
        async with contextlib.aclosing(query.watch_changes(store, filters, limit or _NEWEST)) as changes:
            async for change in changes:
                print_json(change.to_json(), one_line=True)
