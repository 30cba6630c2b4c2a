function _durablectl_completion
    set --local --export _DURABLECTL_COMPLETE (commandline --cut-at-cursor --current-process | string collect)
    set --local lines (durablectl 2>/dev/null </dev/null)
    if set --query lines[1]
        printf '%s\n' $lines
    else
        __fish_complete_path (commandline --current-token)
    end
end

complete --command durablectl --no-files --keep-order --arguments "(_durablectl_completion)"
