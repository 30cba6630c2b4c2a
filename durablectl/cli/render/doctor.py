"""The findings of `durablectl doctor`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import count, one_line
from durablectl.cli.render.symbols import DONE, FAILED, Symbol
from durablectl.cli.render.table import separated
from durablectl.query import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.control import RepairedStreams, RepairReport
    from durablectl.query import Check, Diagnosis

_SYMBOLS = {Severity.OK: DONE, Severity.WARNING: Symbol("!", "yellow"), Severity.ERROR: FAILED}
_INDENT = 2
_ARROW = "→ "
_NARROWEST = 20


def diagnosis_table(
    diagnosis: Diagnosis,
    repaired: RepairReport | None,
    width: int,
    streams: RepairedStreams | None = None,
    removed: int | None = None,
) -> Text:
    """For a terminal: a symbol, the name and the sentence of each finding, wrapped, with what to do below it."""
    lines: list[Text] = []
    if streams is not None:
        for sentence in stream_sentences(streams, is_dry=repaired is not None and repaired.is_dry_run):
            lines += _paragraph(sentence, "bold", width, 0)
    if removed is not None and repaired is not None:
        lines += _paragraph(_removal_sentence(removed, is_dry=repaired.is_dry_run), "bold", width, 0)
    if repaired is not None:
        lines += _paragraph(repair_sentence(repaired), "bold", width, 0)
        lines.append(Text())
    left = max(len(check.name) for check in diagnosis.checks) + _INDENT + _INDENT
    for check in diagnosis.checks:
        symbol = _SYMBOLS[check.severity]
        body = _paragraph(one_line(check.message), "", width, left)
        for line in check.lines:
            body += _paragraph(one_line(line), "dim", width, left + _INDENT)
        if check.hint:
            body += _paragraph(f"{_ARROW}{one_line(check.hint)}", "cyan", width, left)
        head = Text.assemble(symbol, " ", f"{check.name:<{left - _INDENT}}")
        body[0] = head + body[0][left:]
        lines += body
    lines += [Text(), _summary(diagnosis.checks)]
    return Text("\n").join(lines)


def _removal_sentence(removed: int, *, is_dry: bool) -> str:
    verb = "Would remove" if is_dry else "Removed"
    return f"{verb} {count(removed, 'command')} that no processor would take."


def diagnosis_lines(
    diagnosis: Diagnosis,
    repaired: RepairReport | None,
    streams: RepairedStreams | None = None,
    removed: int | None = None,
) -> str:
    """For a pipe."""
    checks = diagnosis.checks
    rows = [
        (
            check.severity.value,
            check.name,
            str(check.count),
            one_line(check.message),
            one_line(check.hint),
            one_line("; ".join(check.lines)),
        )
        for check in checks
    ]
    if repaired is not None:
        rows.insert(0, ("ok", "repair", str(repaired.changes), repair_sentence(repaired), "", ""))
    if removed is not None and repaired is not None:
        sentence = _removal_sentence(removed, is_dry=repaired.is_dry_run)
        rows.insert(0, ("ok", "repair_commands", str(removed), sentence, "", ""))
    if streams is not None:
        told = " ".join(stream_sentences(streams, is_dry=repaired is not None and repaired.is_dry_run))
        rows.insert(0, ("warning" if streams.left else "ok", "repair_streams", str(streams.changes), told, "", ""))
    titles = ("SEVERITY", "CHECK", "COUNT", "MESSAGE", "HINT", "DETAILS")
    return separated([(title, cells) for title, cells in zip(titles, zip(*rows, strict=True), strict=True)])


def repair_sentence(repaired: RepairReport) -> str:
    """What was done, or would be."""
    dry = repaired.is_dry_run
    parts = []
    if repaired.entered:
        foreign = f" ({repaired.foreign:,} of other programs)" if repaired.foreign else ""
        parts.append(f"{'enter' if dry else 'entered'} {count(repaired.entered, 'workflow')}{foreign}")
    if repaired.removed:
        entries = "1 wrong entry" if repaired.removed == 1 else f"{repaired.removed:,} wrong entries"
        parts.append(f"{'remove' if dry else 'removed'} {entries}")
    if repaired.handlers:
        names = count(repaired.handlers, "handler name")
        parts.append(f"{'store' if dry else 'stored'} {names}")
    if repaired.called:
        parts.append(f"{'call' if dry else 'called'} for {count(repaired.called, 'workflow')} to go on")
    if repaired.armed:
        parts.append(f"{'arm' if dry else 'armed'} {count(repaired.armed, 'schedule')} again")
    if repaired.waits_named:
        verb = "waits" if repaired.waits_named == 1 else "wait"
        parts.append(f"{'name' if dry else 'named'} what {count(repaired.waits_named, 'workflow')} {verb} for")
    kept = ""
    if repaired.kept:
        entries = count(repaired.kept, "workflow")
        kept = f" Kept {entries} of the index whose records look lost: restore those first, or use --forget-lost."
    if not parts and kept:
        return kept.strip()
    if not parts:
        return "There is nothing to repair." if dry else "There was nothing to repair."
    told = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"This would {told}; nothing was changed.{kept}" if dry else f"{told[0].upper()}{told[1:]}.{kept}"


def stream_sentences(streams: RepairedStreams, *, is_dry: bool) -> list[str]:
    """What was done to the streams, or would be, and what is left."""
    told = []
    if streams.created:
        told.append(f"{'Would create' if is_dry else 'Created'} {', '.join(streams.created)}.")
    for name, phrases in streams.changed.items():
        told.append(f"{'Would change' if is_dry else 'Changed'} {name}: {one_line('; '.join(phrases))}.")
    for name, phrases in streams.left.items():
        told.append(f"Left to you is {name}: {one_line('; '.join(phrases))}.")
    return told or ["The streams are configured as they should be."]


def _summary(checks: Sequence[Check]) -> Text:
    errors, warnings = (
        sum(check.severity == severity for check in checks) for severity in (Severity.ERROR, Severity.WARNING)
    )
    if not (errors or warnings):
        return Text("All is well.", style="bold green")
    parts = [count(errors, "error")] if errors else []
    parts += [count(warnings, "warning")] if warnings else []
    return Text(f"{' and '.join(parts)}.", style="bold red" if errors else "bold yellow")


def _paragraph(text: str, style: str, width: int, indent: int) -> list[Text]:
    """Lines no wider than the terminal, each behind so many blanks; a long word is left whole."""
    room = max(_NARROWEST, width - indent)
    following = " " * _INDENT if text.startswith(_ARROW) else ""
    lines = textwrap.wrap(text, room, subsequent_indent=following, break_long_words=False, break_on_hyphens=False)
    return [Text(" " * indent).append(line, style=style) for line in lines]
