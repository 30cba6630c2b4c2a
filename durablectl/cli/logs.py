"""Logs of the long-running commands, on standard error: text for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from durablectl.cli.output import is_coloured, is_decorated, printable
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS, to_rfc3339

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logs(log_format: str, level: str) -> None:
    """Take over the root logger. UsageError for a format or level that there is not."""
    for given, known, what in ((log_format, FORMATS, "log format"), (level.lower(), LEVELS, "log level")):
        if given not in known:
            raise UsageError(f"There is no {what} {given!r}.", hint=f"Choose one of {', '.join(known)}.")
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(coloured=is_coloured(sys.stderr), short=is_decorated(sys.stderr)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the fields given with ``extra``, and exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=repr)


class TextFormatter(logging.Formatter):
    """Time, level, message, then the fields as key=value; an exception follows on lines of its own.

    ``short`` leaves the date out: whoever looks at a terminal knows it.
    """

    def __init__(self, *, coloured: bool = False, short: bool = False) -> None:
        super().__init__()
        self._coloured = coloured
        self._short = short

    def format(self, record: logging.LogRecord) -> str:
        moment = _time(record)
        name = record.name.removeprefix("durablectl.")
        fields = "  ".join(f"{key}={value}" for key, value in _fields(record).items())
        parts = [
            self._paint(moment[11:-1] if self._short else moment, "2"),
            self._paint(f"{record.levelname:<7}", _COLOURS.get(record.levelname, "0")),
            printable(record.getMessage()).replace("\n", "\n  "),
            self._paint(printable(f"{name}  {fields}" if fields else name), "2"),
        ]
        line = "  ".join(part for part in parts if part)
        if record.exc_info:
            line += "\n" + printable(self.formatException(record.exc_info))
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and text else text


def _time(record: logging.LogRecord) -> str:
    return to_rfc3339(int(record.created * MICROSECONDS)) or ""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
