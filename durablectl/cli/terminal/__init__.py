"""Output: formats, consoles, pager, live screens, logs."""
