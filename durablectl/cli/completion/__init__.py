"""Shell completion: scripts, and candidates from the server."""
