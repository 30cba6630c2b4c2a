"""One run of one invocation: replay, journal, waits, and how it stops."""
