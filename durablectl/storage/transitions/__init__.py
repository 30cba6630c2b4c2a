"""Writes that take several messages: start, end, cancel."""
