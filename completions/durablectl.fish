function _durablectl_completion
    env _DURABLECTL_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS=(commandline -cp) durablectl 2>/dev/null
end

complete --command durablectl --no-files \
    --arguments "(_durablectl_completion get-args)" --condition "_durablectl_completion is-args"
