_durablectl_completion() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=( $(_DURABLECTL_COMPLETE="$line" "$1" 2>/dev/null </dev/null | cut -f 1) )
    # Of the last word, readline replaces only what follows a ':' or '='.
    local word="${line##*[[:space:]]}"
    COMPREPLY=( "${COMPREPLY[@]#"${word%"${word##*[:=]}"}"}" )
}

complete -o default -o nosort -F _durablectl_completion durablectl 2>/dev/null ||
    complete -o default -F _durablectl_completion durablectl
