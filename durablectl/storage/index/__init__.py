"""The index: one subject per invocation, which lists and counts read."""
