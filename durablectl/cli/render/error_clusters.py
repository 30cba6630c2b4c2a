"""What workflows have failed with, by cluster, each with the command that retries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from durablectl.cli.render.formatting import age, compact, count, iso, one_line
from durablectl.cli.render.symbols import FAILED
from durablectl.cli.render.table import Column, names, plain, separated, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.query import ErrorCluster, ErrorsView

_INDENT = "  "


def errors_table(clusters: Sequence[ErrorCluster], commands: Sequence[str], now: int, width: int) -> Text:
    """For a terminal: a line each, and below it sample ids and the command, which are never cut."""
    overview = table(
        [
            plain("COUNT", [f"{cluster.count:,}" for cluster in clusters], right=True),
            names("HANDLER", [one_line(cluster.handler) for cluster in clusters], drop=2),
            plain("STEP", [_steps(cluster) for cluster in clusters], drop=3),
            plain("FIRST", [compact(age(cluster.first_at, now)) for cluster in clusters], drop=5, right=True),
            plain("LAST", [compact(age(cluster.last_at, now)) for cluster in clusters], drop=4, right=True),
            Column("ERROR", [Text(_error(cluster), style=FAILED.style) for cluster in clusters], drop=1, least=24),
        ],
        width,
    )
    header, *rows = overview.split("\n")
    blocks = [header]
    for row, cluster, command in zip(rows, clusters, commands, strict=True):
        blocks += [row, *_samples(cluster, width), *_origin(cluster, width), Text(f"{_INDENT}{command}")]
    return Text("\n").join(blocks)


def errors_lines(clusters: Sequence[ErrorCluster], commands: Sequence[str]) -> str:
    """For a pipe: tab-separated, RFC 3339, nothing shortened."""
    return separated(
        [
            ("COUNT", [str(cluster.count) for cluster in clusters]),
            ("HANDLER", [one_line(cluster.handler) for cluster in clusters]),
            ("STEP", [_steps(cluster) for cluster in clusters]),
            ("FIRST", [iso(cluster.first_at) for cluster in clusters]),
            ("LAST", [iso(cluster.last_at) for cluster in clusters]),
            ("SAMPLES", [one_line(",".join(cluster.samples)) for cluster in clusters]),
            ("ERROR_TYPE", [one_line(cluster.error_type) for cluster in clusters]),
            ("ERROR", [one_line(cluster.message) for cluster in clusters]),
            ("COMMAND", [one_line(command) for command in commands]),
            ("VERSION", [one_line(cluster.version) for cluster in clusters]),
            ("PROCESSOR", [one_line(cluster.processor_id) for cluster in clusters]),
            ("APP_VERSION", [one_line(cluster.app_version) for cluster in clusters]),
        ]
    )


def rest_note(view: ErrorsView) -> str:
    """What the table does not show; empty when it is complete."""
    if len(view.errors) >= view.total:
        return ""
    return f"Showing {len(view.errors):,} of {count(view.total, 'error')}, {count(view.failures, 'failure')} in all."


def _samples(cluster: ErrorCluster, width: int) -> list[Text]:
    """As many as go on one line, at least one; the others below."""
    lines: list[str] = []
    for sample in map(one_line, cluster.samples):
        if lines and len(lines[-1]) + 1 + len(sample) <= width:
            lines[-1] += f" {sample}"
        else:
            lines.append(f"{_INDENT}{sample}")
    return [Text(line, style="dim") for line in lines]


def _origin(cluster: ErrorCluster, width: int) -> list[Text]:
    """Where all of them ran last, on one line or two; nothing where they differ."""
    said = [f"on {one_line(cluster.processor_id)}"] if cluster.processor_id else []
    said += [f"app {one_line(cluster.app_version)}"] if cluster.app_version else []
    said += [f"durablectl {one_line(cluster.version)}"] if cluster.version else []
    if said and cluster.count > 1:
        said[0] = f"all {said[0]}" if cluster.processor_id else f"all with {said[0]}"
    lines = [", ".join(said)] if said else []
    if lines and len(_INDENT) + len(lines[0]) > width:
        lines = said
    return [Text(f"{_INDENT}{line}", style="dim") for line in lines]


def _error(cluster: ErrorCluster) -> str:
    """With its type, unless that says only that a step failed."""
    typed = cluster.error_type and cluster.error_type != "StepError"
    return one_line(f"{cluster.error_type}: {cluster.message}" if typed else cluster.message)


def _steps(cluster: ErrorCluster) -> str:
    """``2 charge`` for the step that failed most often, and how many others there are."""
    if not cluster.steps:
        return ""
    first = cluster.steps[0]
    number = "" if first.step_number is None else f"{first.step_number} "
    others = f" +{len(cluster.steps) - 1}" if len(cluster.steps) > 1 else ""
    return f"{number}{one_line(first.step_type)}{others}"
