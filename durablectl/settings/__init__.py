"""Where to connect, as whom, and in which namespace: flags, environment and NATS contexts merged into one value."""

from durablectl.settings.connection_settings import DEFAULT_URL, Settings
from durablectl.settings.resolution import SETTABLE, resolve

__all__ = ["DEFAULT_URL", "SETTABLE", "Settings", "resolve"]
