"""The protocol with a shell: the scripts that it sources, and the answer for a line up to the cursor."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from durablectl.cli import PROGRAM
from durablectl.cli.render.formatting import printable

VARIABLE = "_DURABLECTL_COMPLETE"
"""The line up to the cursor; where it is set, candidates are printed instead of running a command."""

_BASH = r"""_%(program)s_completion() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=( $(%(variable)s="$line" "$1" 2>/dev/null </dev/null | cut -f 1) )
    # Of the last word, readline replaces only what follows a ':' or '='.
    local word="${line##*[[:space:]]}"
    COMPREPLY=( "${COMPREPLY[@]#"${word%%"${word##*[:=]}"}"}" )
}

complete -o default -o nosort -F _%(program)s_completion %(program)s 2>/dev/null ||
    complete -o default -F _%(program)s_completion %(program)s
"""

_ZSH = r"""#compdef %(program)s

_%(program)s_completion() {
    local -a lines candidates
    lines=("${(@f)$(%(variable)s="${words[1,CURRENT]}" %(program)s 2>/dev/null </dev/null)}")
    candidates=("${(@)${(@)lines:#}%%%%$'\t'*}")
    if (( $#candidates )); then
        lines=("${(@)lines/$'\t'/  -- }")
        compadd -V %(program)s -l -d lines -a candidates
    else
        _files
    fi
}

if [ "$funcstack[1]" = "_%(program)s" ]; then
    _%(program)s_completion "$@"
else
    compdef _%(program)s_completion %(program)s
fi
"""

_FISH = r"""function _%(program)s_completion
    set --local --export %(variable)s (commandline --cut-at-cursor --current-process | string collect)
    set --local lines (%(program)s 2>/dev/null </dev/null)
    if set --query lines[1]
        printf '%%s\n' $lines
    else
        __fish_complete_path (commandline --current-token)
    end
end

complete --command %(program)s --no-files --keep-order --arguments "(_%(program)s_completion)"
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
FILES = {"bash": f"{PROGRAM}.bash", "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}
"""Under completions/."""


def script(shell: str) -> str:
    return SCRIPTS[shell] % {"program": PROGRAM, "variable": VARIABLE}


def answer(command: Any, line: str) -> str:
    """The candidates for the last word of ``line``, one a line, each with a tab and what it is if there is more to say.

    ``command`` is the root of the tree.
    """
    completion: Any = import_module("typer.completion")
    completion.completion_init()
    shells = completion.shell_completion
    words = shells.split_arg_string(line)[1:]
    incomplete = "" if not words or line[-1].isspace() else words.pop()
    option = incomplete.partition("=")[0] + "=" if incomplete.startswith("--") and "=" in incomplete else ""
    found = shells.get_completion_class("bash")(command, {}, PROGRAM, VARIABLE).get_completions(words, incomplete)
    return "".join(f"{option}{item.value}\t{_one_line(item.help)}".rstrip() + "\n" for item in found)


def _one_line(text: str | None) -> str:
    return printable(" ".join((text or "").split()))
