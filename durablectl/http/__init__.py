"""The HTTP API: what the CLI has, for curl, scripts and browsers, over the same queries and operations."""
