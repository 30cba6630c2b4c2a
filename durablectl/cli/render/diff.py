"""Two runs beside each other: what differs in them, where they part, how long their steps took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from durablectl.cli.render.formatting import compact, count, duration, one_line, value
from durablectl.cli.render.status_sentence import end_sentence, error_text, progress_sentence, workflow_symbol
from durablectl.cli.render.symbols import DONE, FAILED, STATUS, Symbol
from durablectl.cli.render.table import UNLIMITED, Column, plain, shortened, table
from durablectl.model.status import Status, is_terminal
from durablectl.query import ABSENT, Aspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from durablectl.query import Comparison, StepDifference, StepView, ValueChange, WorkflowView

_MOST_CHANGES, _MOST_DURATIONS = 10, 20
_INDENT = "  "
_NAME = 14


def diff_page(comparison: Comparison, now: int, width: int, *, full: bool = False) -> Text:
    """For a terminal; ``full`` shows every step that differs, every duration, and shortens no value."""
    limit = UNLIMITED if full else width
    parts = [_runs(comparison, now, width), *_header(comparison, limit, full=full)]
    parts += _steps(comparison, limit, full=full)
    if comparison.durations:
        parts.append(_durations(comparison, width, full=full))
    return Text("\n\n").join(parts)


def _runs(comparison: Comparison, now: int, width: int) -> Text:
    lines = []
    for name, view in (("A", comparison.a), ("B", comparison.b)):
        told = end_sentence(view) if is_terminal(view.status) else progress_sentence(view, now)
        lines.append(Text.assemble((f"{name}  ", "bold"), workflow_symbol(view), f" {one_line(view.invocation_id)}"))
        lines.append(Text(shortened(f"     {one_line(view.handler)}, {told}", width), style="dim"))
    if comparison.a.handler != comparison.b.handler:
        lines.append(Text("Other handlers: their steps are compared by number.", "yellow"))
    return Text("\n").join(lines)


def _header(comparison: Comparison, width: int, *, full: bool) -> list[Text]:
    """A table of the short ones; below it, one by one, what does not fit or differs within."""
    fields = [(each.name, _field(each.a), _field(each.b)) for each in comparison.header if not each.changes]
    most = (width - _NAME) // 2 - 2
    short = [each for each in fields if max(len(each[1]), len(each[2])) <= most]
    parts = []
    if short:
        columns = [
            plain(f"{'':<{_NAME}}", [name for name, _, _ in short], "dim"),
            plain("A", [a for _, a, _ in short]),
            plain("B", [b for _, _, b in short]),
        ]
        parts.append(table(columns, width))
    for name, a, b in fields:
        if (name, a, b) not in short:
            lines = [
                Text.assemble(f"{_INDENT}{who}  ", shortened(text, width - 5)) for who, text in (("A", a), ("B", b))
            ]
            parts.append(Text("\n").join([Text(name, style="bold"), *lines]))
    for each in comparison.header:
        if each.changes:
            title = Text(each.name, style="bold")
            parts.append(Text("\n").join([title, *_changes(each.changes, width, full=full)]))
    return parts


def _field(data: Any) -> str:
    return "-" if data is None else one_line(str(data))


def _steps(comparison: Comparison, width: int, *, full: bool) -> list[Text]:
    first, parting = comparison.divergence, comparison.first_other_outcome
    if not comparison.steps:
        steps = len(comparison.a.journal or ())
        return [Text(f"No step differs ({count(steps, 'step')})." if steps else "Neither has a step.")]
    parts = []
    if first is None:
        parts.append(Text("No step has another type, result or error; only requests differ."))
    shown: list[StepDifference] = []
    for step in comparison.steps:
        if full or step in (first, parting) or (first is None and not shown):
            title = (
                "First divergence: step"
                if step is first
                else "First other outcome: step"
                if step is parting
                else "Step"
            )
            parts.append(_step(step, width, title, full=full))
            shown.append(step)
    hidden = len(comparison.steps) - len(shown)
    if hidden > 0:
        earlier = [step for step in comparison.steps if first is not None and step.step_number < first.step_number]
        numbers = f" ({_numbers(earlier)} before it by the request alone)" if earlier else ""
        told = f"{count(hidden, 'more step')} {'differs' if hidden == 1 else 'differ'}{numbers}: see --full"
        parts.append(Text(told, style="dim"))
    return parts


def _numbers(steps: Sequence[StepDifference]) -> str:
    first = [str(step.step_number) for step in steps[:3]]
    return f"step{'s' if len(steps) > 1 else ''} {', '.join(first)}{' and others' if len(steps) > len(first) else ''}"


def _step(step: StepDifference, width: int, title: str, *, full: bool) -> Text:
    what = ", ".join(str(aspect) for aspect in step.aspects)
    either = step.a or step.b
    name = one_line(either.step_type) if either is not None else ""
    what = "" if Aspect.PRESENCE in step.aspects else f"  {what}"
    headline = shortened(f"{title} {step.step_number} {name}", max(10, width - len(what)))
    lines = [Text.assemble((headline, "bold"), (what, "dim"))]
    for letter, one in (("A", step.a), ("B", step.b)):
        mark, told = _outcome(one)
        if Aspect.TYPE in step.aspects and one is not None:
            told = f"{_named(one)}: {told}"
        lines.append(Text.assemble(f"{_INDENT}{letter} ", mark, " ", shortened(told, width - 6)))
    for label, found in (("request", step.request), ("result", step.result)):
        if found:
            lines += [Text(f"{_INDENT}{label}", style="dim"), *_changes(found, width, full=full, indent=_INDENT * 2)]
    return Text("\n").join(lines)


def _named(step: StepView) -> str:
    """``call HelloService.SayHello``; what is named after its kind, by that alone."""
    name = one_line(step.step_type)
    return name if not step.kind or name.partition(":")[0] == step.kind else f"{one_line(step.kind)} {name}"


def _outcome(step: StepView | None) -> tuple[Symbol, str]:
    if step is None:
        return Symbol("·", "dim"), "did not take this step"
    tries = f" (attempt {step.attempts})" if step.attempts > 1 else ""
    if step.error:
        return FAILED, f"{error_text(step)}{tries}"
    if step.started_at and not step.finished_at:
        return STATUS[Status.SUSPENDED], "is still waiting"
    return DONE, f"{value(step.response)}{tries}"


def _changes(found: Sequence[ValueChange], width: int, *, full: bool, indent: str = _INDENT) -> list[Text]:
    """One on a line where there is room for it, else on three."""
    shown = found if full else found[:_MOST_CHANGES]
    lines: list[Text] = []
    for change in shown:
        path = one_line(change.path)
        a, b = _one(change.a), _one(change.b)
        short = len(indent) + len(path) + len(a) + len(b) + 5
        if short <= width:
            lines.append(Text.assemble(indent, (path, "dim"), "  ", (a, "red"), (" → ", "dim"), (b, "green")))
            continue
        lines.append(Text.assemble(indent, (shortened(path, width - len(indent)), "dim")))
        lines += [
            Text.assemble(
                indent, f"{mark} ", (shortened(_from_difference(text, other, width), width - len(indent) - 2), style)
            )
            for mark, text, other, style in (("-", a, b, "red"), ("+", b, a, "green"))
        ]
    if len(found) > len(shown):
        lines.append(Text(f"{indent}{count(len(found) - len(shown), 'more difference')}: see --full", style="dim"))
    return lines


def _from_difference(text: str, other: str, width: int) -> str:
    """With its beginning left out where that is the same in both, and the difference would not be seen."""
    same = next((i for i, (x, y) in enumerate(zip(text, other, strict=False)) if x != y), min(len(text), len(other)))
    lead = max(0, same - width // 4)
    return f"…{text[lead:]}" if lead and len(text) > width // 2 else text


def _one(data: Any) -> str:
    return "(absent)" if data is ABSENT else value(data)


def _durations(comparison: Comparison, width: int, *, full: bool) -> Text:
    found = comparison.durations
    shown = found if full else sorted(found, key=lambda each: -abs(each.b - each.a))[:_MOST_DURATIONS]
    shown = sorted(shown, key=lambda each: each.step_number)
    whole = _whole(comparison.a), _whole(comparison.b)
    rows = [(str(each.step_number), each.step_type, each.a, each.b) for each in shown]
    if all(whole):
        rows.append(("", "altogether", *whole))
    columns = [
        plain("#", [number for number, *_ in rows], right=True),
        plain("STEP", [one_line(name) for _, name, *_ in rows], least=16),
        plain("A", [compact(duration(a)) for *_, a, _ in rows], right=True),
        plain("B", [compact(duration(b)) for *_, b in rows], right=True),
        Column("B/A", [_ratio(a, b) for *_, a, b in rows], right=True),
    ]
    drawn = table(columns, width)
    if len(shown) < len(found):
        rest = f"  the {len(shown)} of {len(found):,} steps whose times differ most: see --full"
        drawn = Text.assemble(drawn, "\n", (rest, "dim"))
    return drawn


def _whole(view: WorkflowView) -> int:
    return view.finished_at - view.started_at if view.finished_at and view.started_at else 0


def _ratio(a: int, b: int) -> Text:
    """Coloured where a step took twice as long or half as long, and that can be felt."""
    if not a:
        return Text("")
    felt = abs(b - a) > 10_000  # noqa: PLR2004 - 10 ms
    style = "red" if b > 2 * a and felt else "green" if 2 * b < a and felt else ""
    return Text(f"{b / a:.2f}" if b < 10 * a else f"{b / a:.0f}", style=style)


def diff_lines(comparison: Comparison, *, full: bool = False) -> str:
    """For a pipe: tab-separated; what kind of line it is comes first. Values are JSON."""
    return "\n".join("\t".join(line) for line in _lines(comparison, full=full))


def _lines(comparison: Comparison, *, full: bool) -> Iterator[Sequence[str]]:
    for name, view in (("A", comparison.a), ("B", comparison.b)):
        yield ("run", name, one_line(view.invocation_id), one_line(view.handler), one_line(view.status))
    for each in comparison.header:
        for change in each.changes:
            yield ("header", each.name, one_line(change.path), _one(change.a), _one(change.b))
        if not each.changes:
            yield ("header", each.name, "", _field(each.a), _field(each.b))
    first, parting = comparison.divergence, comparison.first_other_outcome
    for step in comparison.steps:
        if full or step in (first, parting):
            kind = "divergence" if step is first else "outcome" if step is parting else "step"
            yield from ((kind, str(step.step_number), *line) for line in _step_lines(step))
    for took in comparison.durations:
        ratio = "" if took.ratio is None else f"{took.ratio:.3f}"
        times = (f"{took.a / 1000:.3f}", f"{took.b / 1000:.3f}")
        yield ("milliseconds", str(took.step_number), one_line(took.step_type), *times, ratio)


def _step_lines(step: StepDifference) -> Iterator[Sequence[str]]:
    if step.a is None or step.b is None or Aspect.TYPE in step.aspects:
        yield ("type", "", *(one_line(one.step_type) if one else "" for one in (step.a, step.b)))
    for label, found in (("request", step.request), ("result", step.result)):
        for change in found:
            yield (label, one_line(change.path), _one(change.a), _one(change.b))
    if step.has_other_outcome:
        yield ("outcome", "", *(_outcome(one)[1] for one in (step.a, step.b)))
