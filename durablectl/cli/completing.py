"""Shell completion: the scripts that a shell sources, and what may stand where the cursor is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from durablectl.cli.about import PROGRAM
from durablectl.model.status import Status

VARIABLE = "_DURABLECTL_COMPLETE"
"""The line up to the cursor; where it is set, candidates are printed instead of running a command."""

_BASH = r"""_%(program)s_completion() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=( $(%(variable)s="$line" "$1" 2>/dev/null </dev/null | cut -f 1) )
    # readline replaces only what follows the last ':' or '='.
    local word="${line##*[[:space:]]}"
    local kept="${word%%"${word##*[:=]}"}"
    COMPREPLY=( "${COMPREPLY[@]#"$kept"}" )
}

if [[ "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}" == [0-3].* || "${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}" == 4.[0-3] ]]; then
    complete -o default -F _%(program)s_completion %(program)s
else
    complete -o default -o nosort -F _%(program)s_completion %(program)s
fi
"""

_ZSH = r"""#compdef %(program)s

_%(program)s_completion() {
    local -a lines
    lines=("${(@f)$(%(variable)s="${words[1,CURRENT]}" %(program)s 2>/dev/null </dev/null)}")
    lines=("${(@)lines:#}")
    if (( $#lines )); then
        lines=("${(@)lines//:/\\:}")
        _describe -V 'candidate' "${(@)lines/$'\t'/:}"
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
    set --local lines (%(variable)s=(commandline --cut-at-cursor --current-process | string collect) \
        %(program)s 2>/dev/null </dev/null)
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
