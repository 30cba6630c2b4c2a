"""The command line: each command parses, makes one call below, and renders."""
