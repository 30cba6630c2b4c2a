"""`durablectl completion`: the script that teaches a shell our commands."""

from __future__ import annotations

from typing import Annotated

import typer

from durablectl.cli.completion.completers import complete_from
from durablectl.cli.completion.scripts import SCRIPTS, script
from durablectl.errors import UsageError


def completion(
    shell: Annotated[
        str, typer.Argument(metavar="|".join(SCRIPTS), autocompletion=complete_from([*SCRIPTS]), show_default=False)
    ],
) -> None:
    """Print the completion script for a shell.

    For bash, it belongs into ~/.local/share/bash-completion/completions/durablectl, for zsh into a directory of $fpath
    as _durablectl, for fish into ~/.config/fish/completions/durablectl.fish.

    Example: durablectl completion bash > ~/.local/share/bash-completion/completions/durablectl
    """
    if shell not in SCRIPTS:
        raise UsageError(f"There is no completion for {shell!r}.", hint=f"Choose one of {', '.join(SCRIPTS)}.")
    typer.echo(script(shell), nl=False)
