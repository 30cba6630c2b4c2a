"""What the server refuses for want of a permission, and the permission that would allow it.

nats-server does not answer what it refuses. It says so beside the answers, in words that nats-py gives in lower case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from durablectl.errors import PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)
_STREAM = re.compile(r"(kv_execution_state|execution_index|kv_durable_processors|commands)(?=_|$)")
_BUCKET = re.compile(r"(execution_state|durable_processors)(?=_|$)")
_API = re.compile(r"((?:\$JS\.(?:[^.]+\.)?API\.))(.+)")
_GRANTS: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(r"(DIRECT\.GET\.[^.]+)\..+"), r"\1.>"),
    (re.compile(r"(CONSUMER\.CREATE\.[^.]+)\.[^.]+\..+"), r"\1.*.>"),
    (re.compile(r"(CONSUMER\.(?:MSG\.NEXT|CREATE|DELETE|INFO)\.[^.]+)\.[^.]+"), r"\1.*"),
]
"""Behind the prefix of the API: what is asked for, and the pattern that docs/permissions.md has for it."""
_ELSEWHERE: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(r"(\$JS\.(?:ACK|FC)\.[^.]+)\..+"), r"\1.>"),
    (re.compile(r"(\$KV\.[^.]+)\..+"), r"\1.>"),
    (re.compile(r"(\$SRV)\..+"), r"\1.>"),
    (re.compile(r"((?:commands|schedules|durable)(?:-[^.]+)?)\..+"), r"\1.>"),
    (re.compile(r"(_INBOX[^.]*)\..+"), r"\1.>"),
]
_NOTIFICATIONS = (re.compile(r"(durable(?:-[^.]+)?\.poke)\.[^.]+"), r"\1.*")
"""Of a subscription; a publication is part of ``durable.>``."""
_SHOWN = 3

Action = Literal["publish", "subscribe"]


class Violation(NamedTuple):
    """What the credentials may not do; the subject is in lower case where its true form is not known."""

    action: Action
    subject: str


def violation_in(words: str) -> Violation | None:
    """What the server complains about, if it is about permissions."""
    found = _REFUSED.search(words)
    if found is None:
        return None
    action: Action = "publish" if found[1].lower() == "publish" else "subscribe"
    return Violation(action, _in_upper_case(found[2]))


def _in_upper_case(subject: str) -> str:
    """Restore the names of JetStream's API, of streams and of buckets."""
    if not subject.startswith(("$js.", "$kv.", "$srv.", "_inbox")):
        return subject
    tokens = subject.split(".")
    if tokens[0] == "$kv":
        tokens[:2] = ["$KV", _BUCKET.sub(lambda found: found[0].upper(), tokens[1])] if tokens[1:] else ["$KV"]
        return ".".join(tokens)
    if tokens[0].startswith("_inbox"):
        return subject.replace("_inbox", "_INBOX", 1)
    named = next((place for place, token in enumerate(tokens) if _STREAM.match(token)), None)
    before = 2 if named is None else named
    if named is not None:
        tokens[named] = _STREAM.sub(lambda found: found[0].upper(), tokens[named], count=1)
    return ".".join([*(token.upper() for token in tokens[:before]), *tokens[before:]])


def pattern_for(violation: Violation) -> str:
    """The subject to allow, as docs/permissions.md writes it: without the names of single workflows."""
    subject = violation.subject
    found = _API.fullmatch(subject)
    prefix, rest, rules = (found[1], found[2], _GRANTS) if found else ("", subject, _ELSEWHERE)
    if violation.action == "subscribe":
        rules = [_NOTIFICATIONS, *rules]
    return next((prefix + asked.sub(allowed, rest) for asked, allowed in rules if asked.fullmatch(rest)), subject)


def permission_denied(violations: Sequence[Violation]) -> PermissionDeniedError:
    """The error for these violations: the subjects, and what to grant."""
    return PermissionDeniedError(f"{sentence(violations)}.", hint=f"{grants(violations)}.")


def sentence(violations: Sequence[Violation]) -> str:
    """Say what the credentials may not do; without a full stop."""
    parts = []
    for action in dict.fromkeys(each.action for each in violations):
        subjects = list(dict.fromkeys(each.subject for each in violations if each.action == action))
        more = f" and {len(subjects) - _SHOWN} more subjects" if len(subjects) > _SHOWN else ""
        verb = "publish to" if action == "publish" else "subscribe to"
        parts.append(f"{verb} {', '.join(subjects[:_SHOWN])}{more}")
    return f"These credentials may not {' and not '.join(parts)}"


def grants(violations: Sequence[Violation]) -> str:
    """Say which permissions allow it, and where they are listed; without a full stop."""
    wanted = []
    for action in dict.fromkeys(each.action for each in violations):
        patterns = dict.fromkeys(pattern_for(each) for each in violations if each.action == action)
        quoted = ", ".join(f'"{each}"' for each in patterns)
        wanted.append(f"{action} {quoted}")
    return f"Allow the NATS user to {' and '.join(wanted)}; docs/permissions.md lists what each command needs"
