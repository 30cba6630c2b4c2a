_durablectl_completion() {
    local IFS=$'\n'
    COMPREPLY=( $(
        env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _DURABLECTL_COMPLETE=complete_bash "$1" 2>/dev/null
    ) )
}

complete -o default -F _durablectl_completion durablectl
