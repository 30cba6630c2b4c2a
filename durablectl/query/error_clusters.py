"""Failures of many workflows, those together that failed in the same way."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.model.clock import to_rfc3339
from durablectl.model.filters import Filters
from durablectl.model.kinds import WaitingFor
from durablectl.model.message_types import Schemas
from durablectl.model.status import Status
from durablectl.query.selection import list_pages
from durablectl.query.view_builder import workflow_view
from durablectl.storage.records import states

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

SAMPLES = 3
LONGEST_LITERAL = 160
_LONGEST_MESSAGE = 1000
_DEEPEST = 20
"""Children of children that are followed to what made the innermost one fail."""

_KEPT = re.compile(r"<(?:\*|path|time)>")
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
_HEX = "[0-9a-fA-F]"
_ROOT = r"(?:(?:~|\.{1,2})?/|[A-Za-z]:[\\/])"
_TOKENS = re.compile(
    rf"""
    (?P<kept> {_KEPT.pattern} )
  | (?P<time> (?<!\w) (?:
        \d{{4}}-\d\d-\d\d (?: [T\ ]{_CLOCK} (?: \ ?(?:Z|UTC|[+-]\d\d:?\d\d) )? )?
      | (?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\ )? \d{{1,2}}\ {_MONTH}\ \d{{4}}\ {_CLOCK} (?:\ (?:GMT|UTC|[+-]\d{{4}}))?
      | \d{{1,2}}:\d\d:\d\d(?:[.,]\d+)?
    ) (?![\w:]) )
  | (?P<code> (?i: (?<!\w) (?: HTTP(?:/\d(?:\.\d)?)? (?:\ (?:status|error))? | (?:HTTP\ )?status(?:[ _]?code)?
        | (?:exit|error|return)(?:ed)?(?:\ with)?[ _]?(?:status|code) | errno | signal )
        [ :=]{{1,2}} -?\d{{1,3}} ) (?![-_.,]?\w) )
  | (?P<scheme> (?<!\w)[a-zA-Z][a-zA-Z0-9+.]*:// ) (?P<host> [^\s/'"`<>()?]* ) (?P<rest> [/?][^\s'"`<>()]* )?
  | (?P<quoted_path>
        (?<=') {_ROOT} [^'<>]*[^'<>\s] (?=') | (?<=") {_ROOT} [^"<>]*[^"<>\s] (?=") )
  | (?P<path> (?<![\w/\\<>.~])
        {_ROOT} [^\s'"`<>:,;()\[\]{{}}|]*[^\s'"`<>:,;()\[\]{{}}|.!?] )
  | (?P<id> (?<![\w>]) (?:
        {_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}} | {_HEX}{{5}}(?:-{_HEX}{{5}}){{3}}
      | {_HEX}{{2}}(?::{_HEX}{{2}}){{5}}
      | (?={_HEX}*:[0-9a-fA-F:]*\d|\d{_HEX}*:) (?: (?:{_HEX}{{1,4}}:){{3,7}}{_HEX}{{1,4}}
          | (?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})?::(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})? )
      | 0[xX]{_HEX}+ | [^\s@'"`<>()]+@[\w-]+(?:\.[\w-]+)+
    ) (?!\w) )
  | (?P<number> (?<![\w>]) (?<![\w>][-_.]) [-+]?\d+(?:,\d{{3}})*(?:\.\d+)?(?:[eE][-+]?\d+)? (?![-_.]?\w) )
  | (?P<word> [^\W_]+(?:[-_.]+[^\W_]+)* )
    """,
    re.VERBOSE,
)
_NAME_AND_NUMBER = re.compile(r"([^\W\d]+)\d+")
_AMOUNT = re.compile(r"\d+([^\W\d]{1,3})")
_LONG_HEX = re.compile(rf"{_HEX}{{8,}}")
_LONGEST_NAME = 16
_RANDOM_LENGTH = 16
"""Letters from which on a word without vowels, or with a case of its own for every letter, is an id."""
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{6}")
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[a-z])")


@lru_cache(maxsize=4096)
def normalise(message: str) -> str:
    """The message with identifiers left open, and spaces and line breaks as one space.

    ``<*>`` stands for a number, an id or an address, ``<path>`` and ``<time>`` for those. Words stay, also in quotes,
    and so do the codes that name a cause, such as ``HTTP 503``. A normalised message stays as it is.
    """
    text = " ".join(message.split())
    while (shorter := _TOKENS.sub(_placeholder, text)) != text:
        # What has come to stand beside a placeholder may be read in another way now. Each round leaves less to read.
        text = shorter
    return text


def _placeholder(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "time" | "path" as kind:
            return f"<{kind}>"
        case "quoted_path":
            return "<path>"
        case "id" | "number":
            return "<*>"
        case "word":
            return _open_word(match["word"])
        case "host" | "rest":
            path = "<path>" if len(match["rest"] or "") > 1 else match["rest"] or ""
            return (
                match["scheme"] + re.sub(r"[^\W_]+(?:[-_.]+[^\W_]+)*", lambda m: _open_word(m[0]), match["host"]) + path
            )
        case _:
            return match[0]


def _open_word(word: str) -> str:
    """``order-17-eu`` as ``order-<*>-eu``: from the first part with a digit in it to the last one."""
    parts = re.split(r"([-_.]+)", word)
    varying = [index for index in range(0, len(parts), 2) if _varies(parts[index])]
    if not varying:
        return word
    first, last = varying[0], varying[-1]
    before = after = ""
    if first == last and (named := _NAME_AND_NUMBER.fullmatch(parts[first])) and len(parts[first]) < _LONGEST_NAME:
        before = "" if _LONG_HEX.fullmatch(parts[first]) else named[1]
    elif all(parts[index].isdecimal() for index in varying[:-1]) and (amount := _AMOUNT.fullmatch(parts[last])):
        after = "" if _LONG_HEX.fullmatch(parts[last]) else amount[1]
    return "".join([*parts[:first], before, "<*>", after, *parts[last + 1 :]])


def _varies(part: str) -> bool:
    return any(character.isdigit() for character in part) or bool(_LONG_HEX.fullmatch(part)) or _is_random(part)


def _is_random(part: str) -> bool:
    """Whether no language has this word: ``HTTPSConnectionPool`` is none, ``qLwZkPvbNxTplmRsDa`` is one."""
    if len(part) < _RANDOM_LENGTH:
        return False
    return bool(_CONSONANTS.search(part)) or 2 * len(_CASE_CHANGE.findall(part)) > len(part)


@dataclass(frozen=True)
class FailedStepCount:
    """A step in which failures of a cluster happened; ``step_number`` None where it was not the same for all."""

    step_type: str
    step_number: int | None
    count: int

    def to_json(self) -> dict[str, Any]:
        return {"step_type": self.step_type, "step_number": self.step_number, "count": self.count}


@dataclass(frozen=True)
class ErrorCluster:
    """Failures of one handler with one error type, whose messages differ in numbers, ids and the like alone.

    ``message`` is what normalise makes of them, ``example`` that of the last one. ``literal`` is the longest piece
    found in all of them, up to LONGEST_LITERAL characters on one line; empty where there is none. ``samples`` are ids,
    the last failure first; ``steps`` the most frequent first, none for what failed between steps. Times are those of
    the first and last failure, in microseconds.

    ``version`` of durablectl, ``app_version`` and ``processor_id`` are where all of them ran last; empty where they
    differ, or a record does not say.

    What failed because a child failed is in the cluster of that child: ``handler`` is that of the innermost one, and
    ``outermost`` are the handlers of those that no other failure in the cluster contains.
    """

    handler: str
    error_type: str
    message: str
    count: int
    first_at: int
    last_at: int
    samples: Sequence[str]
    steps: Sequence[FailedStepCount]
    literal: str
    example: str
    outermost: Sequence[str] = ()
    version: str = ""
    processor_id: str = ""
    app_version: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "handler": self.handler,
            "outermost_handlers": [*self.outermost],
            "error_type": self.error_type or None,
            "message": self.message,
            "count": self.count,
            "first_at": to_rfc3339(self.first_at),
            "last_at": to_rfc3339(self.last_at),
            "samples": list(self.samples),
            "steps": [step.to_json() for step in self.steps],
            "example": self.example,
            "version": self.version or None,
            "app_version": self.app_version or None,
            "processor_id": self.processor_id or None,
        }


@dataclass(frozen=True)
class ErrorsView:
    """The most frequent first; ``total`` counts all clusters, ``failures`` all workflows in them."""

    errors: Sequence[ErrorCluster]
    total: int
    failures: int


class ParsedError(NamedTuple):
    """An error taken apart: what it says, and the step it says it of; without one, the number is -1."""

    message: str
    step_type: str = ""
    step_number: int = -1

    @classmethod
    def from_view(cls, view: WorkflowView) -> ParsedError:
        if view.retrying is not None:
            return cls(view.retrying.error, view.retrying.name, view.retrying.step_number)
        failed = view.failed_step
        if failed is not None and failed.message_at:
            return cls(view.error[failed.message_at :], failed.step_type, failed.step_number)
        return cls(view.error, view.current_step_type, view.current_step)


async def get_errors(
    store: Store,
    filters: Filters | None = None,
    limit: int = 20,
    *,
    active: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ErrorsView:
    """What the failed workflows among those that match have failed with, in at most ``limit`` clusters.

    With ``active``, what makes steps back off instead. Reads all that have failed, or back off; ``progress`` is told
    how many. Raises what list_workflows raises.
    """
    filters = filters or Filters()
    if active:
        statuses = frozenset({Status.RUNNING, Status.SUSPENDED})
        filters = replace(filters, statuses=statuses, waiting_for=frozenset({WaitingFor.RETRY}))
    else:
        filters = replace(filters, statuses=frozenset({Status.FAILED}))
    clusters: dict[tuple[str, str, str], _ClusterBuilder] = {}
    read = 0
    async for page in list_pages(store, filters, progress=progress):
        causes = await _innermost(store, page.workflows)
        for view in page.workflows:
            cause = causes.get(view.invocation_id, view)
            failure = ParsedError.from_view(cause)
            failure = failure._replace(message=failure.message[:_LONGEST_MESSAGE])
            key = (cause.handler, cause.error_type, _pattern(cause, failure.message))
            clusters.setdefault(key, _ClusterBuilder(_literals(key[-1]))).add(view, failure, cause)
        read += len(page.workflows)
        if progress is not None and page.next_cursor:
            progress(read)
    views = [cluster.build(*key) for key, cluster in clusters.items()]
    views.sort(key=lambda view: (-view.count, -view.last_at, view.handler, view.message))
    return ErrorsView(views[:limit], len(views), read)


async def _innermost(store: Store, views: Sequence[WorkflowView]) -> dict[str, WorkflowView]:
    """By id, the failed child, or child of a child, that each of these failed with; those without one are left out."""
    found: dict[str, WorkflowView] = {}
    wanted = {view.invocation_id: view.failed_child for view in views if view.failed_child}
    for _ in range(_DEEPEST):
        if not wanted:
            break
        stored = await states.load_many(store, sorted({*wanted.values()}))
        inner = {
            child: workflow_view(each.execution, each.revision, Schemas())
            for child, each in stored.items()
            if each.execution.status == Status.FAILED
        }
        found |= {outer: inner[child] for outer, child in wanted.items() if child in inner}
        wanted = {
            outer: inner[child].failed_child
            for outer, child in wanted.items()
            if child in inner and inner[child].failed_child
        }
    return found


def _pattern(view: WorkflowView, message: str) -> str:
    """Its own id is open whatever it looks like."""
    own = re.escape(view.invocation_id)
    return normalise(re.sub(rf"(?<![\w-]){own}(?![\w-])", "<*>", message))


@dataclass
class _ClusterBuilder:
    """``pieces`` are literals of the pattern that have been in every message so far, ``common`` is another one.

    ``handlers`` are those of the workflows by id, ``contained`` the ids of children that others failed with.
    """

    pieces: Sequence[str]
    count: int = 0
    first_at: int = 0
    last_at: int = 0
    example: str = ""
    common: str = ""
    samples: list[tuple[int, str]] = field(default_factory=list)
    handlers: dict[str, str] = field(default_factory=dict)
    contained: set[str] = field(default_factory=set)
    steps: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, int | None] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)
    app_versions: set[str] = field(default_factory=set)
    processors: set[str] = field(default_factory=set)

    def add(self, view: WorkflowView, failure: ParsedError, cause: WorkflowView) -> None:
        """Add a workflow; ``cause`` is itself, or the innermost child that it failed with."""
        timestamp_us = view.updated_at
        message = failure.message
        self.handlers[view.invocation_id] = view.handler
        self.contained.add(view.failed_child)
        self.versions.add(cause.version)
        self.app_versions.add(cause.app_version)
        self.processors.add(cause.last_processor)
        if not self.count:
            self.common, self.first_at = message, timestamp_us
        elif self.common not in message:
            self.common = _longest_common_substring(self.common, message)
        self.pieces = [piece for piece in self.pieces if piece in message]
        self.count += 1
        self.first_at = min(self.first_at, timestamp_us)
        if timestamp_us >= self.last_at:
            self.last_at, self.example = timestamp_us, view.error or message
        self.samples = sorted([*self.samples, (-timestamp_us, view.invocation_id)])[:SAMPLES]
        if failure.step_type:
            self.steps[failure.step_type] += 1
            number = self.numbers.setdefault(failure.step_type, failure.step_number)
            self.numbers[failure.step_type] = number if number == failure.step_number else None

    def build(self, handler: str, error_type: str, pattern: str) -> ErrorCluster:
        return ErrorCluster(
            handler=handler,
            error_type=error_type,
            message=pattern,
            count=self.count,
            first_at=self.first_at,
            last_at=self.last_at,
            samples=[invocation_id for _, invocation_id in self.samples],
            steps=[FailedStepCount(name, self.numbers[name], count) for name, count in self.steps.most_common()],
            literal=_literal([self.common, *self.pieces]),
            example=self.example,
            outermost=sorted({name for each, name in self.handlers.items() if each not in self.contained}),
            version=_shared(self.versions),
            app_version=_shared(self.app_versions),
            processor_id=_shared(self.processors),
        )


def _shared(values: set[str]) -> str:
    """The value of all, if there is but one."""
    return next(iter(values)) if len(values) == 1 else ""


def _literals(pattern: str) -> list[str]:
    return [piece.strip() for piece in _KEPT.split(pattern)]


def _longest_common_substring(first: str, second: str) -> str:
    found = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    return first[found.a : found.a + found.size]


def _literal(candidates: Sequence[str]) -> str:
    """The longest line among them, at its ends without spaces, and without quotes, which a shell would double."""
    lines = ["".join(c if c.isprintable() else "\n" for c in text).split("\n") for text in candidates]
    found = max((line.strip()[:LONGEST_LITERAL].strip() for each in lines for line in each), key=len, default="")
    return found.strip(" '\"`") or found
