"""`durablectl help`: what a command does, and the topics that concern many commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from durablectl.cli import PROGRAM
from durablectl.cli.completion.completers import complete_from
from durablectl.cli.terminal.output import is_decorated, show_paged, stdout_console
from durablectl.errors import UsageError
from durablectl.model.text import did_you_mean

TOPICS = ("filters", "output", "exit-codes", "connection")
_LIST = "topics"
_FILES = Path(__file__).parent.parent / "topics"


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    command: Any = ctx.find_root().command
    words = ctx.params.get("words") or ()
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    names = [*getattr(command, "commands", {}), *(() if words else (_LIST, *TOPICS))]
    return complete_from(names)(incomplete)


def help_(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND ...|TOPIC]", autocompletion=_complete)] = None,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Print a long topic without a pager.")] = False,
) -> None:
    """Explain a command, or a topic that concerns many of them.

    `durablectl help topics` lists the topics.

    Example: durablectl help wf list
    """
    root: Any = context.find_root().command
    names = words or []
    if names == [_LIST]:
        _print("\n".join(f"{name:12}{summary(name)}" for name in TOPICS) + "\n", paged=not no_pager)
    elif len(names) == 1 and names[0] in TOPICS:
        _print(topic(names[0]), paged=not no_pager)
    elif names and names[0] not in root.commands:
        raise _unknown(names[0], [*root.commands, _LIST, *TOPICS])
    else:
        root.main([*names, "--help"], prog_name=PROGRAM, standalone_mode=False)


def topic(name: str) -> str:
    """The text of a topic, whose first line is its title."""
    return (_FILES / f"{name}.txt").read_text(encoding="utf-8")


def summary(name: str) -> str:
    return topic(name).partition("\n")[0]


def _print(text: str, *, paged: bool) -> None:
    import sys

    if paged and is_decorated(sys.stdout):
        from rich.text import Text

        show_paged(stdout_console(), Text(text, end=""))
    else:
        typer.echo(text, nl=False)


def _unknown(word: str, known: list[str]) -> UsageError:
    guess = did_you_mean(word, known)
    return UsageError(
        f"There is no command or topic {word!r}.",
        hint=f"{guess}`{PROGRAM} --help` lists the commands, `{PROGRAM} help {_LIST}` the topics.",
    )
