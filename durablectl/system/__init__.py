"""Workflows of durablectl's own, which every processor runs beside those of its app."""
