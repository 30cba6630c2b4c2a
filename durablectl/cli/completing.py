"""Shell completion: the scripts that a shell sources, and candidates for values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from durablectl.cli.about import PROGRAM
from durablectl.model.status import Status

VARIABLE = "_DURABLECTL_COMPLETE"
"""Set by the scripts below; Typer then prints candidates instead of running a command."""

_BASH = r"""_%(program)s_completion() {
    local IFS=$'\n'
    COMPREPLY=( $(
        env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(variable)s=complete_bash "$1" 2>/dev/null
    ) )
}

complete -o default -F _%(program)s_completion %(program)s
"""

_ZSH = r"""#compdef %(program)s

_%(program)s_completion() {
    eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(variable)s=complete_zsh %(program)s 2>/dev/null)"
}

if [ "$funcstack[1]" = "_%(program)s" ]; then
    _%(program)s_completion "$@"
else
    compdef _%(program)s_completion %(program)s
fi
"""

_FISH = r"""function _%(program)s_completion
    env %(variable)s=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS=(commandline -cp) %(program)s 2>/dev/null
end

complete --command %(program)s --no-files \
    --arguments "(_%(program)s_completion get-args)" --condition "_%(program)s_completion is-args"
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
FILES = {"bash": f"{PROGRAM}.bash", "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}
"""Under completions/."""


def script(shell: str) -> str:
    return SCRIPTS[shell] % {"program": PROGRAM, "variable": VARIABLE}


def complete_from(words: Sequence[str]) -> Callable[[str], list[str]]:
    """A completer for a fixed set of words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


complete_status = complete_from([*Status, "active"])
