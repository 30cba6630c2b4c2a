"""Streams: creating, following, and reading them directly."""
