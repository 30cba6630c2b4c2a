"""Logs of the long-running commands, on standard error: text for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from durablectl.cli.render.formatting import printable
from durablectl.cli.terminal.output import Verbosity, is_coloured, is_decorated, note, verbosity
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS, to_rfc3339

if TYPE_CHECKING:
    from durablectl.settings import Settings

FORMATS = ("text", "json")
_SECRET = frozenset({"user", "password", "token", "user_jwt", "user_seed"})  # a user without a password is a token
LEVELS = ("debug", "info", "warning", "error")
WIRE = "durablectl.wire"
"""The logger to which storage tells its connection and its requests."""

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
    wire = logging.getLogger(WIRE)
    wire.removeHandler(_DETAILS)  # what -v asks for becomes part of the log
    wire.propagate = True
    if verbosity.get() != Verbosity.VERBOSE:
        wire.setLevel(logging.INFO)  # a line for each request of a processor is too much, even for debug
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


class _Details(logging.Handler):
    """What -v tells of requests, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        if verbosity.get() == Verbosity.VERBOSE:
            note(record.getMessage(), dim=True)


_DETAILS = _Details()


def log_connection(settings: Settings) -> None:
    """Where the command connects and why there, now, and what it asks the server, from now on."""
    shown = {"url": settings.display_url, "namespace": settings.namespace or "the default one"}
    for name, source in settings.sources.items():
        value = getattr(settings, name)
        if name in shown or source != "default":
            words = "given" if name in _SECRET else shown.get(name, value)
            note(f"{name.replace('_', ' ')}: {words} ({source})", dim=True)
    wire = logging.getLogger(WIRE)
    wire.addHandler(_DETAILS)
    wire.setLevel(logging.DEBUG)
    wire.propagate = False


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
            line["exception"] = _traceback(record.exc_info)
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
            line += "\n" + printable(_traceback(record.exc_info))
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and text else text


def _traceback(exc_info: Any) -> str:
    from durablectl.model.tracebacks import author_traceback

    error = exc_info[1]
    return "" if error is None else author_traceback(error).rstrip("\n")


def _time(record: logging.LogRecord) -> str:
    return to_rfc3339(int(record.created * MICROSECONDS)) or ""


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
